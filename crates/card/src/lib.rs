//! Agent cards as documents that can be trusted: canonical form, signatures, what is wrong with one.
