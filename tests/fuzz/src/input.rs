//! Choices at the front of an input, and the rest of it.
//!
//! # Invariants
//! - Any bytes are an input: a choice that is missing is the first one.

use http::Method;
use mesh_proto::{Binding, Dialect, Operation, Version, rewrite::Direction};

/// An input that is being read.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// The next byte, 0 at the end.
    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// One of these, by the next byte.
    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        let at = usize::from(self.byte()) % all.len();
        all[at]
    }

    pub(crate) fn operation(&mut self) -> Operation {
        self.pick(&Operation::ALL)
    }

    pub(crate) fn direction(&mut self) -> Direction {
        self.pick(&[Direction::Request, Direction::Reply, Direction::Event])
    }

    /// A dialect over JSON.
    pub(crate) fn json_dialect(&mut self) -> Dialect {
        let binding = self.pick(&[Binding::JsonRpc, Binding::Rest]);
        Dialect::new(binding, self.pick(&[Version::V1_0, Version::V0_3]))
    }

    pub(crate) fn method(&mut self) -> Method {
        match self.byte() % 4 {
            0 => Method::GET,
            1 => Method::POST,
            2 => Method::DELETE,
            _ => Method::PUT,
        }
    }

    /// All that is left.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }
}
