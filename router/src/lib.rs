//! Carries A2A calls between clients and agents; stateless, placed by consistent hash.
