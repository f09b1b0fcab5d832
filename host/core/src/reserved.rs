//! Names that no tenant may have, each with its reason.
//!
//! A tenant's name becomes the beginning of a topic's name, a principal, a folder, a part of a host's name and, for its own workers, a
//! Kubernetes namespace. So a name that one of these treats specially is nobody's, nor is one that a person could take for
//! such a name or for another tenant's. Asked once, when a tenant is made: a tenant that is there keeps its name.
//! Must never: refuse a name for what it means to people only; that is for the operator.

use crate::name::TenantId;

/// Names as a whole. One that looks like one of these is refused too.
const NAMES: &[(&str, &str)] = &[
    ("admin", "a principal of this name is a super user of many Kafka clusters"),
    ("administrator", "it would be taken for the operator"),
    ("anonymous", "it is what Kafka calls a client without credentials"),
    ("bulkhead", "it would be taken for the host itself"),
    ("compiler", "it is a role of the host's own processes"),
    ("control", "it is a role of the host's own processes"),
    ("default", "it is a namespace of every Kubernetes cluster, and Kafka's word for whoever has no quota of its own"),
    ("internal", "the paths of workers begin with it"),
    ("kafka", "it is the brokers' own principal"),
    ("kubernetes", "it is the service account of the cluster itself"),
    ("localhost", "it is the machine itself, wherever a tenant's name becomes a host's"),
    ("operator", "it is a role of the host's own processes"),
    ("platform", "it would be taken for the operator"),
    ("platform-admin", "it is the operator's role"),
    ("postgres", "it is the super user of the database"),
    ("public", "it is the schema of PostgreSQL that everybody shares"),
    ("root", "it is the super user of the machine"),
    ("sink", "the host's own groups that write objects have names that begin so"),
    ("slots", "the host divides pipelines among workers under this name"),
    ("superuser", "it would be taken for the operator"),
    ("system", "what begins with it belongs to the platform"),
    ("worker", "it is a role of the host's own processes"),
    ("zookeeper", "it is a principal of Kafka's"),
];

/// Beginnings of names, up to a hyphen.
const BEGINNINGS: &[(&str, &str)] = &[
    ("bulkhead", "names that begin with `bulkhead-` are the host's own"),
    ("kafka", "names that begin with `kafka-` are the brokers' own"),
    ("kube", "Kubernetes keeps names that begin with `kube-` for itself"),
    ("openshift", "OpenShift keeps names that begin with `openshift-` for itself"),
    ("pg", "PostgreSQL keeps names that begin so for itself"),
    ("sthree", "S3 keeps names that begin with `sthree-` for itself"),
    ("system", "names that begin with `system-` belong to the platform"),
    ("xn", "a name that begins with `xn--` stands for other letters than it shows"),
];

/// Endings of names.
const ENDINGS: &[(&str, &str)] = &[("-s3alias", "S3 keeps names that end with `-s3alias` for itself")];

/// The host's own name: one letter more, less or other is still too near.
const OURS: &str = "bulkhead";

/// Why this name is kept from tenants; `None` where it is not.
pub fn reserved(name: &TenantId) -> Option<String> {
    let name = name.as_str();
    if name.contains("--") {
        return Some("two hyphens look like one, and mean something to DNS and S3".to_owned());
    }
    exact(name).map(str::to_owned).or_else(|| look_alike(name))
}

fn exact(name: &str) -> Option<&'static str> {
    let whole = NAMES.iter().find(|(kept, _)| *kept == name);
    let begins = || BEGINNINGS.iter().find(|(kept, _)| name.split_once('-').is_some_and(|(first, _)| first == *kept));
    let ends = || ENDINGS.iter().find(|(kept, _)| name.ends_with(kept));
    whole.or_else(begins).or_else(ends).map(|(_, reason)| *reason)
}

fn look_alike(name: &str) -> Option<String> {
    let seen = skeleton(name);
    let like = |kept: &str| Some(format!("it looks like `{kept}`, which no tenant can be"));
    if let Some((kept, _)) = NAMES.iter().find(|(kept, _)| skeleton(kept) == seen) {
        return like(kept);
    }
    if near(&seen, &skeleton(OURS)) {
        return like(OURS);
    }
    let firsts = name.match_indices('-').map(|(at, _)| skeleton(&name[..at]));
    let begins = |first: String| BEGINNINGS.iter().find(|(kept, _)| skeleton(kept) == first);
    firsts.filter_map(begins).next().and_then(|(kept, _)| like(&format!("{kept}-…")))
}

/// What a hurried reader sees: digits as the letters that they resemble, pairs as the letter that they look like, no hyphens.
fn skeleton(name: &str) -> String {
    let letters: String = name.chars().filter(|c| *c != '-').map(letter).collect();
    letters.replace("rn", "m").replace("vv", "w").replace("cl", "d")
}

fn letter(shown: char) -> char {
    match shown {
        '0' => 'o',
        '1' | 'i' | 'j' => 'l',
        '2' => 'z',
        '3' => 'e',
        '4' => 'a',
        '5' => 's',
        '6' | '8' => 'b',
        '7' => 't',
        '9' => 'g',
        other => other,
    }
}

/// Whether one letter more, less or other makes one of the other.
fn near(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let ahead = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[ahead..], &b[ahead..]);
    let rest =
        |skip_a: usize, skip_b: usize| a.get(skip_a..).unwrap_or_default() == b.get(skip_b..).unwrap_or_default();
    rest(1, 1) || rest(1, 0) || rest(0, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str) -> bool {
        reserved(&name.parse().unwrap()).is_some()
    }

    #[test]
    fn what_other_systems_treat_specially_is_nobodys() {
        for (name, _) in NAMES {
            assert!(refused(name), "{name}");
        }
        for name in
            ["kube-system", "kube-x", "system-a", "kafka-1", "xn--80ak6aa92e", "sthree-a", "a-s3alias", "pg-toast"]
        {
            assert!(refused(name), "{name}");
        }
    }

    #[test]
    fn look_alikes_are_nobodys() {
        for name in [
            "adm1n",
            "r00t",
            "ro-ot",
            "k4fka",
            "kafk-a",
            "sy5tem",
            "b0lkhead",
            "bu1khead",
            "bulkheads",
            "bulkhaed-x",
            "bulkhea",
            "kub3-system",
            "ku-be-system",
            "defau1t",
            "a--b",
            "adrnin",
            "bulk-head",
        ] {
            assert_eq!(refused(name), name != "bulkhaed-x", "{name}");
        }
    }

    #[test]
    fn ordinary_names_are_free() {
        for name in [
            "acme",
            "globex",
            "team-7",
            "systematic",
            "kubernetes-fans",
            "rooted",
            "admins-of-acme",
            "main",
            "defaulting",
            "a",
            "bulk",
            "head",
            "public-health",
            "kafkaesque",
            "control-tower",
            "pgx",
            "acme-2",
        ] {
            assert!(!refused(name), "{name}: {:?}", reserved(&name.parse().unwrap()));
        }
    }

    #[test]
    fn every_reason_is_a_sentence_and_every_entry_a_name() {
        for (name, reason) in NAMES.iter().chain(BEGINNINGS) {
            assert!(name.parse::<TenantId>().is_ok() && reason.len() > 10 && !reason.ends_with('.'), "{name}");
        }
    }
}
