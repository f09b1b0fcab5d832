//! Panics at the start.

use crate::{Guest, shared};

pub const GUEST: Guest = Guest { init: |_| panic!("cannot start"), process: |_| shared::nothing() };
