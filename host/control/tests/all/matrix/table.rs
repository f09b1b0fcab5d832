//! The table of who may use which route, and that it is the API's.

use std::collections::BTreeSet;

const ROUTES: &str = include_str!("../../matrix/routes.txt");
const EXEMPTIONS: &str = include_str!("../../matrix/exemptions.txt");
/// How many routes may be exempted. Lower it when one is taken out; never raise it.
const EXEMPTIONS_MAX: usize = 0;

/// The roles of tenants' people, and `none` for a token without one.
pub(super) const MEMBERS: [&str; 6] = ["none", "auditor", "viewer", "operator", "developer", "tenant-admin"];

/// Who passes on a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Who {
    Everybody,
    AnyToken,
    Roles(BTreeSet<&'static str>),
}

/// A row of the table.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) who: Who,
}

impl Row {
    pub(super) fn has(&self, name: &str) -> bool {
        self.path.contains(&format!("{{{name}}}"))
    }

    pub(super) fn lets(&self, role: &str) -> bool {
        match &self.who {
            Who::Everybody | Who::AnyToken => true,
            Who::Roles(roles) => roles.contains(role),
        }
    }
}

fn lines(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str, Vec<&'static str>)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let mut words = line.split_whitespace();
        (words.next().unwrap(), words.next().unwrap_or_else(|| panic!("{line}")), words.collect())
    })
}

fn who(words: &[&'static str]) -> Who {
    let mut roles = BTreeSet::new();
    for word in words {
        match *word {
            "everybody" => return Who::Everybody,
            "token" => return Who::AnyToken,
            "members" => roles.extend(MEMBERS),
            "auditors" => roles.extend(["auditor", "tenant-admin"]),
            "viewers" => roles.extend(["viewer", "operator", "developer", "tenant-admin"]),
            "operators" => roles.extend(["operator", "developer", "tenant-admin"]),
            "developers" => roles.extend(["developer", "tenant-admin"]),
            role => {
                let known = MEMBERS.contains(&role) || matches!(role, "platform-admin" | "worker");
                assert!(known, "`{role}` is no role");
                roles.insert(role);
            }
        }
    }
    assert!(!roles.is_empty(), "a row lets nobody pass");
    Who::Roles(roles)
}

/// Every row that is walked.
pub(super) fn rows() -> Vec<Row> {
    let exempt: BTreeSet<_> = lines(EXEMPTIONS).map(|(method, path, _)| (method, path)).collect();
    let rows = lines(ROUTES).map(|(method, path, words)| Row { method, path, who: who(&words) });
    rows.filter(|row| !exempt.contains(&(row.method, row.path))).collect()
}

#[test]
fn the_table_is_the_apis_description() {
    let description: serde_json::Value = serde_json::from_str(bulkhead_control::openapi()).unwrap();
    let mut described = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        described.extend(item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    let table: Vec<_> = lines(ROUTES).map(|(method, path, _)| (method.to_owned(), path.to_owned())).collect();
    let known: BTreeSet<_> = table.iter().cloned().collect();
    assert_eq!(known.len(), table.len(), "a route stands twice in tests/matrix/routes.txt");
    let missing: Vec<_> = described.difference(&known).collect();
    assert!(missing.is_empty(), "say in tests/matrix/routes.txt who may use {missing:#?}");
    let gone: Vec<_> = known.difference(&described).collect();
    assert!(gone.is_empty(), "tests/matrix/routes.txt has routes that are not there: {gone:#?}");
}

#[test]
fn exemptions_only_become_fewer() {
    let known: BTreeSet<_> = lines(ROUTES).map(|(method, path, _)| (method, path)).collect();
    let exempt: Vec<_> = lines(EXEMPTIONS).collect();
    assert_eq!(
        exempt.len(),
        EXEMPTIONS_MAX,
        "more are not allowed: walk the route instead; where there are fewer, lower EXEMPTIONS_MAX: {exempt:#?}"
    );
    for (method, path, reason) in exempt {
        assert!(known.contains(&(method, path)) && !reason.is_empty(), "{method} {path}");
    }
}
