//! XChaCha20-Poly1305 as everything here uses it: a random nonce, then ciphertext and tag.
//!
//! Must never: say why a ciphertext does not open.

use crate::error::VaultError;
use crate::key::{DataKey, nonce};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 24;
/// Bytes of a tag.
pub(crate) const TAG_BYTES: usize = 16;

fn cipher(key: &DataKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.expose().into())
}

/// Appends nonce, ciphertext and tag to `to`.
pub(crate) fn seal(key: &DataKey, aad: &[u8], plain: &[u8], to: &mut Vec<u8>) -> Result<(), VaultError> {
    seal_with(key, &nonce()?, aad, plain, to)
}

/// [`seal`] with a given nonce, so that known answers can be checked.
pub(crate) fn seal_with(
    key: &DataKey,
    nonce: &XNonce,
    aad: &[u8],
    plain: &[u8],
    to: &mut Vec<u8>,
) -> Result<(), VaultError> {
    to.reserve_exact(NONCE_BYTES + plain.len() + TAG_BYTES);
    to.extend_from_slice(nonce);
    seal_beside(key, nonce, aad, plain, to)
}

/// Appends ciphertext and tag, for a nonce that is known without being kept here.
pub(crate) fn seal_beside(
    key: &DataKey,
    nonce: &XNonce,
    aad: &[u8],
    plain: &[u8],
    to: &mut Vec<u8>,
) -> Result<(), VaultError> {
    let sealed = cipher(key).encrypt(nonce, Payload { msg: plain, aad });
    to.extend_from_slice(&sealed.map_err(|_| VaultError::sealed("a value is too long to be sealed"))?);
    Ok(())
}

/// What [`seal`] appended, opened; `None` where any bit of it, of the key or of the associated data is another.
pub(crate) fn open(key: &DataKey, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
    open_beside(key, &XNonce::try_from(nonce).ok()?, aad, sealed)
}

/// What [`seal_beside`] appended, opened.
pub(crate) fn open_beside(key: &DataKey, nonce: &XNonce, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    cipher(key).decrypt(nonce, Payload { msg: sealed, aad }).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of draft-irtf-cfrg-xchacha-03, A.3.1.
    #[test]
    fn the_cipher_gives_the_known_answer() {
        let mut key: Vec<u8> = (0x80..0xa0).collect();
        let key = DataKey::take(&mut key).unwrap();
        let nonce: Vec<u8> = (0x40..0x58).collect();
        let aad = hex::decode("50515253c0c1c2c3c4c5c6c7").unwrap();
        let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
            sunscreen would be it.";
        let mut sealed = Vec::new();
        seal_with(&key, &XNonce::try_from(nonce.as_slice()).unwrap(), &aad, plain, &mut sealed).unwrap();
        let known = "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39\
            ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c\
            97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49";
        assert_eq!(hex::encode(&sealed[NONCE_BYTES..]), known);
        assert_eq!(open(&key, &aad, &sealed).unwrap().as_slice(), plain);
        assert!(open(&key, b"other", &sealed).is_none());
    }
}
