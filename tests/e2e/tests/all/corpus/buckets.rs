//! A bucket of the neighbour's, in every spelling of its name, of a prefix and of a key.
//!
//! Must never: take a name that is the attacker's own for the neighbour's.

use super::play::Attacker;
use crate::brokers::Broker;
use crate::shared::{Guests, manifest_of, wait_applied};
use anyhow::{Result, ensure};
use bulkhead_test_guests::wasm;
use bulkhead_testbed::{Refused, Tenant};
use serde_json::{Value, json};

/// What the neighbour has, in its bucket `hoard`.
const TREASURE: &str = "treasure";
/// The most that one stage may be granted.
const GRANTS_MAX: usize = 16;

const BUCKETS: &[&str] = &[
    "besieged/hoard",
    "BESIEGED/hoard",
    "besieged/hoard/",
    "/besieged/hoard",
    "../besieged/hoard",
    "others-buckets/../besieged/hoard",
    "..%2Fbesieged%2Fhoard",
    "%2e%2e/besieged/hoard",
    "besieged%2Fhoard",
    "..\\besieged\\hoard",
    "besieged\u{2215}hoard",
    "besieged\u{ff0f}hoard",
    "besieged.hoard",
    "Hoard",
    "HOARD",
    "hoard.",
    "hoard/",
    " hoard",
    "hoard\u{0}",
    "hoard%00",
    "hoard\u{200b}",
    "ho\u{430}rd",
    "\u{ff48}oard",
    "_bulkhead.staged",
    "_bulkhead.staged/besieged",
    "s3://besieged/hoard",
    "file:///besieged/hoard",
    "",
    ".",
    "..",
    "*",
    // Names like any other, and so the attacker's own.
    "besieged",
    "hoard",
];

const PREFIXES: &[&str] = &[
    "../",
    "../../besieged/hoard/",
    "a/../../../besieged/hoard/",
    "/besieged/hoard/",
    "./",
    "a//",
    "a/./",
    "no-slash",
    "nul\u{0}/",
    "line\n/",
    // Text like any other: below the attacker's own bucket.
    "..%2F..%2Fbesieged%2Fhoard/",
    "%2e%2e/%2e%2e/besieged/hoard/",
    "..\\..\\besieged\\hoard/",
    ".../besieged/hoard/",
    "besieged/hoard/",
    "\u{ff0e}\u{ff0e}/besieged/hoard/",
];

const KEYS: &[&str] = &[
    "../../besieged/hoard/secret",
    "../hoard/../../besieged/hoard/secret",
    "x/../../../besieged/hoard/secret",
    "./secret",
    "/besieged/hoard/secret",
    "//besieged/hoard/secret",
    "besieged/hoard/secret",
    "..%2F..%2Fbesieged%2Fhoard%2Fsecret",
    "%2e%2e/%2e%2e/besieged/hoard/secret",
    "%252e%252e/%252e%252e/besieged/hoard/secret",
    "..%5c..%5cbesieged%5choard%5csecret",
    "..\\..\\besieged\\hoard\\secret",
    "....//....//besieged/hoard/secret",
    "..\u{2215}..\u{2215}besieged\u{2215}hoard\u{2215}secret",
    "\u{ff0e}\u{ff0e}/\u{ff0e}\u{ff0e}/besieged/hoard/secret",
    "_bulkhead.staged/besieged/secret",
    "secret\u{0}",
    "secret/",
    "secret.",
    "secret ",
    "SECRET",
    "secret?versionId=null",
    "s3://besieged/hoard/secret",
    "file:///besieged/hoard/secret",
    "~/besieged/hoard/secret",
];

fn reach(name: &str, grants: &Value) -> String {
    let stage = format!("name: reach\n    module: bucketed:v1\n    buckets: {grants}\n    tickMs: 3600000");
    manifest_of(name, &stage)
}

fn grant(bucket: &str, prefix: &str) -> Value {
    json!({"bucket": bucket, "prefix": prefix, "access": "readWrite"})
}

/// A pipeline whose records are commands, and what they came to.
struct Hand<'a> {
    tenant: &'a Tenant,
    name: &'a str,
    told: usize,
}

impl<'a> Hand<'a> {
    fn new(tenant: &'a Tenant, name: &'a str, grants: &Value) -> Result<Self> {
        tenant.upload("bucketed", "v1", wasm("bucketed"))?;
        tenant.topics(name)?;
        tenant.apply(name, reach(name, grants))?;
        wait_applied(tenant, name)?;
        Ok(Self { tenant, name, told: 0 })
    }

    fn told(&mut self, commands: &[String]) -> Result<Vec<String>> {
        self.tenant.put(self.name, &commands.iter().map(String::as_str).collect::<Vec<_>>())?;
        let told = self.tenant.out(self.name, self.told + commands.len())?.split_off(self.told);
        self.told += commands.len();
        Ok(told)
    }
}

/// See the module's documentation.
pub(super) fn others_buckets(attacker: &Attacker, _: Option<&Broker>) -> Result<()> {
    let mut owner = Hand::new(&attacker.neighbour, "hoard", &json!({"all": grant("hoard", "")}))?;
    let kept = owner.told(&[format!("put|all|secret|{TREASURE}")])?;
    ensure!(kept == [TREASURE.len().to_string()], "{kept:?}");

    let mut thief = Hand::new(&attacker.tenant, &attacker.name, &json!({"all": grant("hoard", "")}))?;
    names(attacker, &mut thief)?;
    attacker.tenant.apply(&attacker.name, reach(&attacker.name, &json!({"all": grant("hoard", "")})))?;
    wait_applied(&attacker.tenant, &attacker.name)?;
    keys(&mut thief)?;

    let left = owner.told(&["get|all|secret|0|99".to_owned(), "list|all|||99".to_owned()])?;
    ensure!(left == [TREASURE.to_owned(), format!("secret:{}", TREASURE.len())], "the neighbour has {left:?}");
    attacker.neighbour.delete_pipeline("hoard")?;
    Ok(())
}

/// Every name and prefix is refused, or is one of the attacker's own, in which there is nothing.
fn names(attacker: &Attacker, thief: &mut Hand<'_>) -> Result<()> {
    let long = ["b".repeat(64), "b".repeat(100_000)];
    let buckets = BUCKETS.iter().copied().chain(long.iter().map(String::as_str)).map(|bucket| (bucket, ""));
    let deep = "p/".repeat(600);
    let prefixes = PREFIXES.iter().copied().chain([deep.as_str()]).map(|prefix| ("hoard", prefix));
    let mut own = serde_json::Map::new();
    for (bucket, prefix) in buckets.chain(prefixes) {
        let as_grant = json!({"all": grant(bucket, prefix)});
        let applied = attacker.tenant.apply(&attacker.name, reach(&attacker.name, &as_grant));
        let topic = format!("topic: {}-out", attacker.name);
        let object = format!(
            "bucket: {}, prefix: {}, format: jsonl, columns: [{{ name: a, type: string }}]",
            json!(bucket),
            json!(prefix)
        );
        let as_output = reach(&attacker.name, &json!({"all": grant("hoard", "")})).replace(&topic, &object);
        let output = attacker.tenant.apply(&attacker.name, as_output);
        for answer in [&applied, &output] {
            let sound = |refused: &Refused| (400..500).contains(&refused.status);
            ensure!(answer.as_ref().err().is_none_or(sound), "`{bucket}` `{prefix}`: {answer:?}");
        }
        ensure!(applied.is_ok() == output.is_ok(), "`{bucket}` `{prefix}`: {applied:?}, but {output:?}");
        if applied.is_ok() {
            own.insert(format!("g{}", own.len()), grant(bucket, prefix));
        }
    }
    ensure!((3..=GRANTS_MAX).contains(&own.len()), "{own:?}");
    let commands: Vec<String> = (0..own.len()).map(|n| format!("list|g{n}|||99")).collect();
    attacker.tenant.apply(&attacker.name, reach(&attacker.name, &Value::Object(own.clone())))?;
    wait_applied(&attacker.tenant, &attacker.name)?;
    let told = thief.told(&commands)?;
    ensure!(told.iter().all(String::is_empty), "of {own:?} came {told:?}");
    Ok(())
}

/// No key reads, writes or removes what is the neighbour's.
fn keys(thief: &mut Hand<'_>) -> Result<()> {
    let long = ["k".repeat(300), "k/".repeat(600) + "k"];
    for key in KEYS.iter().copied().chain(long.iter().map(String::as_str)) {
        let read = ["get|all|K|0|99", "info|all|K", "match|all|K|*|own"].map(|command| command.replace('K', key));
        for told in thief.told(&read)? {
            ensure!(told.starts_with('!'), "`{key}`: {told}");
        }
        let write = ["put|all|K|own", "upload|all|K|1|3", "delete|all|K"].map(|command| command.replace('K', key));
        for told in thief.told(&write)? {
            ensure!(told.starts_with("!key") || ["3", "deleted"].contains(&told.as_str()), "`{key}`: {told}");
        }
    }
    let left = thief.told(&["list|all|||99".to_owned()])?;
    ensure!(left == [""], "of its own it has {left:?}");
    Ok(())
}
