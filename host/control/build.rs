//! Builds the crate again when a migration changes: `sqlx::migrate!` reads the folder, which the compiler does not see.
//!
//! Must never: do anything else.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
