//! Keys made by this crate: a name, a zero byte, a letter, and what tells entries apart.
//!
//! Must never: let two names, or two kinds under one name, meet.

/// Checks a name: 1 to 64 bytes, none of them zero.
///
/// # Panics
/// Where it is another; in a `const` that is an error of the compiler.
pub(crate) const fn checked(name: &'static str) -> &'static str {
    let bytes = name.as_bytes();
    assert!(!bytes.is_empty() && bytes.len() <= 64, "a name of state has 1 to 64 bytes");
    let mut i = 0;
    while i < bytes.len() {
        assert!(bytes[i] != 0, "a name of state has no zero byte");
        i += 1;
    }
    name
}

/// Begins a key in `buffer`, which loses what it held.
#[inline]
pub(crate) fn start(buffer: &mut Vec<u8>, name: &str, kind: u8) {
    buffer.clear();
    buffer.extend_from_slice(name.as_bytes());
    buffer.extend_from_slice(&[0, kind]);
}

/// A time as bytes that sort as the times do, those before 1970 included.
#[cfg(feature = "state")]
#[inline]
pub(crate) fn time_bytes(time: i64) -> [u8; 8] {
    (time.cast_unsigned() ^ 1 << 63).to_be_bytes()
}

/// The time that [`time_bytes`] wrote.
#[cfg(feature = "state")]
#[inline]
pub(crate) fn time_of(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ 1 << 63).cast_signed()
}
