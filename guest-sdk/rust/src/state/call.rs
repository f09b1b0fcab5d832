//! The overlay of the call that runs now, and when it begins, accepts, takes back and ends.
//!
//! A stage that never touches state must not import it. So the functions that write back are reached only through [`HOOKS`], which the
//! first use of state sets: the linker drops them, and with them the import, where there is no such use.
//! Must never: name the store outside [`with`].

use super::Overlay;
use std::cell::{Cell, RefCell};

struct Hooks {
    accept: fn(),
    reject: fn(),
    finish: fn(),
}

const USED: Hooks = Hooks {
    accept: || OVERLAY.with_borrow_mut(Overlay::accept),
    reject: || OVERLAY.with_borrow_mut(Overlay::reject),
    finish: || OVERLAY.with_borrow_mut(Overlay::finish),
};

thread_local! {
    static OVERLAY: RefCell<Overlay> = const { RefCell::new(Overlay::new()) };
    static HOOKS: Cell<Option<&'static Hooks>> = const { Cell::new(None) };
    static PARTITION: Cell<(u16, i32)> = const { Cell::new((0, 0)) };
}

/// The call's overlay. Not to be called from within itself.
#[inline]
pub(crate) fn with<R>(work: impl FnOnce(&mut Overlay) -> R) -> R {
    HOOKS.set(Some(&USED));
    OVERLAY.with_borrow_mut(work)
}

/// A number that changes whenever what was read before may no longer hold: with each call, and when a record is taken back.
#[cfg(feature = "state")]
#[inline]
pub(crate) fn epoch() -> u64 {
    with(|overlay| overlay.epoch())
}

/// Input and partition of the call that runs now.
#[cfg(feature = "state")]
#[inline]
pub(crate) fn partition() -> (u16, i32) {
    PARTITION.get()
}

/// A call begins.
#[inline]
pub(crate) fn begin(input: u16, partition: i32) {
    PARTITION.set((input, partition));
    #[cfg(not(target_family = "wasm"))]
    super::native::enter(input, partition);
}

/// The current record keeps what it wrote.
#[inline]
pub(crate) fn accept() {
    if let Some(hooks) = HOOKS.get() {
        (hooks.accept)();
    }
}

/// The current record takes back what it wrote.
#[inline]
pub(crate) fn reject() {
    if let Some(hooks) = HOOKS.get() {
        (hooks.reject)();
    }
}

/// The call ends: what is still to be written is written.
#[inline]
pub(crate) fn finish() {
    if let Some(hooks) = HOOKS.get() {
        (hooks.finish)();
    }
    #[cfg(not(target_family = "wasm"))]
    super::native::leave();
}

/// Forgets what a test that panicked left behind.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn reset() {
    OVERLAY.with_borrow_mut(Overlay::forget);
    super::native::leave();
}
