//! Scratch files: a folder of its own for each instance of a stage with the grant `scratch`, empty at its start and gone at its end.
//!
//! Every toolchain's standard library imports `wasi:filesystem`, used or not, so it is linked for all; only the grant puts a folder behind
//! it, at `/scratch`. What there is on WASI's side is written here and not wasmtime's, which has no quota: [`ledger`] counts before the
//! disk is touched, [`descriptor`] does it through `cap-std`, and [`home`] sees that an instance has one operation at a time, off the
//! threads that run guests. A run that is repeated sees the same: no times, no inodes, folders in the order of names.
//! Must never: show a guest a file of another instance or of the host, or hold more on the disk than its manifest says.

mod calls;
mod descriptor;
mod failure;
mod folder;
mod home;
mod ledger;
mod stream;

pub(super) use calls::link;
pub(crate) use calls::settle;
pub(crate) use folder::Scratch;
pub(crate) use home::Home;
