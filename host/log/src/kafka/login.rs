//! How a connection of [`super::wire`] logs in: read from the properties that librdkafka's clients are given, so that both do the same.
//!
//! Known are plain text and TLS, with the system's authorities or a file's and with a certificate of one's own, and the passwords of PLAIN and
//! SCRAM. What else an operator may set of logins and encryption (OAuth, Kerberos, key stores, a list of ciphers) is not.
//! Must never: leave out a property that it does not know, and log in less safely than librdkafka would.

use super::client::Properties;
use std::collections::BTreeMap;
use std::fmt;

/// librdkafka's properties of logins and encryption begin so.
const ABOUT_LOGINS: [&str; 5] = ["security.", "sasl.", "ssl.", "enable.ssl.", "enable.sasl."];

/// How to log in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) tls: Option<Encryption>,
    pub(super) sasl: Option<Password>,
}

/// TLS, and with what.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Encryption {
    /// A file of authorities; `None` for the system's.
    pub(super) ca: Option<String>,
    /// Files of a certificate of one's own and of its key.
    pub(super) own: Option<(String, String)>,
    /// Whether the broker's certificate may be for another name.
    pub(super) any_name: bool,
}

/// A user and a password.
#[derive(PartialEq, Eq)]
pub(super) struct Password {
    /// The mechanism's name.
    pub(super) mechanism: &'static str,
    pub(super) user: String,
    pub(super) password: String,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Password").field("mechanism", &self.mechanism).field("user", &self.user).finish_non_exhaustive()
    }
}

impl Login {
    /// How these properties log in, later ones winning; `None` where that is not known here.
    pub(super) fn of(properties: &Properties) -> Option<Self> {
        let about = properties.iter().filter(|(name, _)| ABOUT_LOGINS.iter().any(|begin| name.starts_with(begin)));
        let mut told: BTreeMap<&str, &str> = about.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let protocol = told.remove("security.protocol").unwrap_or("plaintext").to_ascii_lowercase();
        let (encrypts, has_password) = match protocol.as_str() {
            "plaintext" => (false, false),
            "ssl" => (true, false),
            "sasl_plaintext" => (false, true),
            "sasl_ssl" => (true, true),
            _ => return None,
        };
        let tls = encrypts.then(|| Encryption::take(&mut told));
        let sasl = has_password.then(|| Password::take(&mut told));
        // What is about a way that is not taken means nothing.
        told.retain(|name, _| encrypts && name.contains("ssl.") || has_password && name.contains("sasl."));
        if !told.is_empty() {
            return None;
        }
        Some(Self {
            tls: tls.map_or(Some(None), |tls| tls.map(Some))?,
            sasl: sasl.map_or(Some(None), |s| s.map(Some))?,
        })
    }
}

impl Encryption {
    fn take(told: &mut BTreeMap<&str, &str>) -> Option<Self> {
        let mut take = |name: &str| told.remove(name).map(str::to_owned);
        let any_name = match take("ssl.endpoint.identification.algorithm").as_deref() {
            None | Some("https") => false,
            Some("none") => true,
            Some(_) => return None,
        };
        let ca = take("ssl.ca.location");
        let own = match (take("ssl.certificate.location"), take("ssl.key.location")) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => return None,
        };
        Some(Self { ca, own, any_name })
    }
}

impl Password {
    fn take(told: &mut BTreeMap<&str, &str>) -> Option<Self> {
        let named = told.remove("sasl.mechanisms");
        let mechanism = match told.remove("sasl.mechanism").or(named)? {
            "PLAIN" => "PLAIN",
            "SCRAM-SHA-256" => "SCRAM-SHA-256",
            "SCRAM-SHA-512" => "SCRAM-SHA-512",
            _ => return None,
        };
        let (user, password) = (told.remove("sasl.username")?.to_owned(), told.remove("sasl.password")?.to_owned());
        Some(Self { mechanism, user, password })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(properties: &[(&str, &str)]) -> Option<Login> {
        Login::of(&properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    const SCRAM: [(&str, &str); 3] =
        [("sasl.mechanism", "SCRAM-SHA-512"), ("sasl.username", "u"), ("sasl.password", "hidden-word")];

    #[test]
    fn the_four_protocols_are_known_and_later_properties_win() {
        assert_eq!(of(&[("client.id", "mine")]), Some(Login::default()));
        assert_eq!(of(&[("security.protocol", "SSL")]), Some(Login { tls: Some(Encryption::default()), sasl: None }));
        let scram = [&[("security.protocol", "SASL_PLAINTEXT")], &SCRAM[..]].concat();
        let login = of(&scram).unwrap();
        assert!(login.tls.is_none() && !format!("{login:?}").contains("hidden-word"));
        assert_eq!(login.sasl.unwrap().mechanism, "SCRAM-SHA-512");
        let both = [&scram[..], &[("security.protocol", "sasl_ssl"), ("ssl.ca.location", "/ca")]].concat();
        let login = of(&both).unwrap();
        assert_eq!((login.tls.unwrap().ca.as_deref(), login.sasl.is_some()), (Some("/ca"), true));
    }

    #[test]
    fn what_is_not_known_is_not_left_out() {
        for (name, value) in [
            ("ssl.keystore.location", "/k"),
            ("ssl.key.location", "/k"),
            ("ssl.endpoint.identification.algorithm", "ldap"),
            ("enable.ssl.certificate.verification", "false"),
            ("security.protocol", "SASL_SSL"),
            ("security.protocol", "other"),
        ] {
            assert_eq!(of(&[("security.protocol", "ssl"), (name, value)]), None, "{name}={value}");
        }
        let oauth = [("security.protocol", "SASL_SSL"), ("sasl.mechanisms", "OAUTHBEARER")];
        assert_eq!(of(&oauth), None);
        // But what is about encryption says nothing where nothing is encrypted.
        assert_eq!(of(&[("ssl.keystore.location", "/k")]), Some(Login::default()));
    }
}
