//! Whom the client believes to be its server, and what is said where it does not.
//!
//! An `https://` server is believed where an authority of this system has signed its certificate, or, where a file of authorities is named, one
//! of these alone: who names one has no use for the others.
//! Must never: offer a way to talk to a server that was not believed, or ask for authorities where nothing is encrypted.

use bulkhead_core::code::Code;
use reqwest::{Certificate, ClientBuilder};
use rustls::{CertificateError, Error as TlsError};
use std::error::Error;
use std::path::Path;

/// The authorities in a file of PEM certificates.
///
/// # Errors
/// A sentence where it cannot be read or holds none.
pub(crate) fn authorities(file: &Path) -> Result<Vec<Certificate>, String> {
    let no = |why: &str| format!("{} {why}; it has to hold the authority's certificate in PEM", file.display());
    let text = std::fs::read(file).map_err(|error| no(&format!("cannot be read: {error}")))?;
    match Certificate::from_pem_bundle(&text) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(no("holds no certificate")),
        Err(_) => Err(no("holds something else than certificates")),
    }
}

/// A builder that believes these authorities, or the system's where there are none. Those are not looked for where the server's address is
/// not encrypted: a machine may have none.
pub(crate) fn believing(builder: ClientBuilder, server: &str, authorities: &[Certificate]) -> ClientBuilder {
    if authorities.is_empty() && server.starts_with("https://") {
        return builder;
    }
    builder.tls_certs_only(authorities.iter().cloned())
}

/// What a failed request says of certificates and encryption; `None` where it failed for another reason.
pub(crate) fn complaint(server: &str, error: &(dyn Error + 'static)) -> Option<(Code, String)> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(error) = of_tls(cause) {
            return Some(told(server, error));
        }
        // What a server of encrypted requests answers to one that is not is no HTTP.
        if server.starts_with("http://") && cause.to_string().contains("invalid HTTP version") {
            let detail = format!("{server} does not speak HTTP; if it speaks HTTPS, write https:// in --server");
            return Some((Code::TlsMismatch, detail));
        }
        next = cause.source();
    }
    None
}

/// The error of TLS itself. Errors of input and output hide what they wrap from [`Error::source`].
fn of_tls<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    if let Some(error) = cause.downcast_ref() {
        return Some(error);
    }
    let wrapped: &'a (dyn Error + 'static) = cause.downcast_ref::<std::io::Error>()?.get_ref()?;
    of_tls(wrapped)
}

fn told(server: &str, error: &TlsError) -> (Code, String) {
    use CertificateError as Bad;
    let own = "a certificate of your own authority is believed with --ca FILE";
    match error {
        TlsError::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => (
            Code::ServerNameWrong,
            format!(
                "the certificate of {server} is for another name: {error}; write the server as its certificate names it"
            ),
        ),
        TlsError::InvalidCertificate(
            Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. },
        ) => (
            Code::ServerCertificateExpired,
            format!("the certificate of {server} is not valid now: {error}; renew it, or set this machine's clock"),
        ),
        TlsError::InvalidCertificate(Bad::UnknownIssuer) => (
            Code::ServerUntrusted,
            format!("nobody that this machine believes has signed the certificate of {server}; {own}"),
        ),
        TlsError::InvalidCertificate(_) => {
            (Code::ServerUntrusted, format!("the certificate of {server} cannot be believed: {error}; {own}"))
        }
        TlsError::General(words) if words.contains("No CA certificates") => (
            Code::ServerUntrusted,
            format!(
                "this machine has no authorities to believe; install its package ca-certificates, or name one with \
                 --ca FILE to reach {server}"
            ),
        ),
        TlsError::InvalidMessage(_) => {
            (Code::TlsMismatch, format!("{server} does not speak HTTPS; if it speaks HTTP, write http:// in --server"))
        }
        other => (Code::TlsMismatch, format!("{server} and this program do not agree on an encryption: {other}")),
    }
}
