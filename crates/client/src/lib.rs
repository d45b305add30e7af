//! An A2A client: three bindings, streams, cards.
