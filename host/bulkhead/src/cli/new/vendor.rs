//! The SDK's sources as they go into a project: what this binary carries, made to stand without the repository.
//!
//! The vendored crates stay as they are but for two things: what is only for the repository's own tests and lints is taken out, and a
//! small `Cargo.toml` above them gives what they inherit.
//! Must never: change a version: what was tested together is what a project gets.

use crate::cli::failure::Complaint;
use bulkhead_core::code::Code;
use toml_edit::{Array, DocumentMut, Item, Table, value};

/// Path from the repository's root, and text.
const FILES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/sdk.rs"));
/// Where the SDK lies in a project.
const FOLDER: &str = "vendor/bulkhead";
/// Where it lies in the repository.
const SOURCE: &str = "guest-sdk/";

/// The files of the SDK and the lock of versions, by their path in a project.
///
/// # Errors
/// Where what was built in does not parse, which the tests would have seen.
pub(super) fn files() -> anyhow::Result<Vec<(String, String)>> {
    let root = parse(carried("Cargo.toml")?)?;
    let (mut files, mut crates) = (Vec::new(), Vec::new());
    let mut shared = Table::new();
    for (path, text) in FILES.iter().filter_map(|(path, text)| Some((path.strip_prefix(SOURCE)?, *text))) {
        let mut text = text.to_owned();
        if let Some(folder) = path.strip_suffix("/Cargo.toml") {
            let mut manifest = parse(&text)?;
            stand_alone(&mut manifest, &root, &mut shared)?;
            crates.push(folder);
            text = manifest.to_string();
        }
        files.push((format!("{FOLDER}/{path}"), text));
    }
    files.push((format!("{FOLDER}/Cargo.toml"), workspace(&root, &crates, shared)?));
    files.push(("Cargo.lock".to_owned(), lock()?));
    Ok(files)
}

/// How a project depends on the SDK and on the sandbox.
pub(super) fn dependencies() -> (String, String) {
    let at = |part: &str| format!("{{ path = \"{FOLDER}/{part}\" }}");
    (at("rust"), at("sandbox"))
}

/// The toolchain that builds it.
pub(super) fn toolchain() -> String {
    carried("rust-toolchain.toml").unwrap_or_default().lines().filter(|line| !line.starts_with('#')).fold(
        String::from(
            "# What Bulkhead itself is built with; `rustup` fetches it, with the target, at the first build.\n",
        ),
        |text, line| text + line + "\n",
    )
}

fn carried(name: &str) -> anyhow::Result<&'static str> {
    let found = FILES.iter().find(|(path, _)| *path == name).map(|(_, text)| *text);
    Ok(found.ok_or_else(|| broken(&format!("{name} is not in it")))?)
}

fn broken(why: &str) -> Complaint {
    Complaint::new(Code::ProjectNotMade, format!("this program's copy of the SDK cannot be used: {why}; use --sdk"))
}

fn parse(text: &str) -> anyhow::Result<DocumentMut> {
    text.parse().map_err(|error: toml_edit::TomlError| broken(error.message()).into())
}

/// Takes out what is the repository's, and notes which of its versions the crate inherits.
fn stand_alone(manifest: &mut DocumentMut, root: &DocumentMut, shared: &mut Table) -> anyhow::Result<()> {
    for part in ["lints", "dev-dependencies", "bench", "test", "example"] {
        manifest.remove(part);
    }
    let mut tables = vec![manifest.get("dependencies"), manifest.get("build-dependencies")];
    let targets = manifest.get("target").and_then(Item::as_table_like);
    tables.extend(targets.into_iter().flat_map(|targets| targets.iter()).map(|(_, target)| target.get("dependencies")));
    let entries = tables.into_iter().flatten().filter_map(Item::as_table_like).flat_map(|table| table.iter());
    for (name, _) in entries.filter(|(_, dependency)| dependency.get("workspace").is_some()) {
        let mut found = root["workspace"]["dependencies"].get(name).cloned().ok_or_else(|| broken(name))?;
        if let Some(path) = found.get("path").and_then(Item::as_str).map(str::to_owned) {
            let here = path.strip_prefix(SOURCE).ok_or_else(|| broken(name))?;
            found["path"] = value(here);
        }
        shared.insert(name, found);
    }
    Ok(())
}

/// The `Cargo.toml` above the vendored crates.
fn workspace(root: &DocumentMut, crates: &[&str], mut shared: Table) -> anyhow::Result<String> {
    let mut document = DocumentMut::new();
    document["workspace"] = toml_edit::table();
    document["workspace"]["members"] = value(crates.iter().copied().collect::<Array>());
    document["workspace"]["resolver"] = root["workspace"]["resolver"].clone();
    document["workspace"]["package"] = root["workspace"]["package"].clone();
    shared.sort_values();
    document["workspace"]["dependencies"] = Item::Table(shared);
    Ok(format!("# What the crates of the SDK inherit. Written by `bulkhead new`.\n{document}"))
}

/// The versions that this binary was built with, without the crates of the repository. Cargo takes out what a project does not use.
fn lock() -> anyhow::Result<String> {
    let mut lock = parse(carried("Cargo.lock")?)?;
    if let Some(packages) = lock["package"].as_array_of_tables_mut() {
        packages.retain(|package| package.contains_key("source"));
    }
    Ok(lock.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendored_crates_name_nothing_of_the_repository() {
        let files = files().unwrap();
        let text = |name: &str| {
            let found = files.iter().find(|(path, _)| path == name);
            &found.unwrap_or_else(|| panic!("no {name}")).1
        };
        for name in ["rust", "rust/macros", "sandbox"] {
            let manifest = text(&format!("{FOLDER}/{name}/Cargo.toml"));
            for foreign in ["bulkhead-core", "bulkhead-engine", "[lints]", "dev-dependencies"] {
                assert!(!manifest.contains(foreign), "{name} names {foreign}:\n{manifest}");
            }
        }
        let above = parse(text(&format!("{FOLDER}/Cargo.toml"))).unwrap();
        assert_eq!(above["workspace"]["dependencies"]["bulkhead-sdk"]["path"].as_str(), Some("rust"));
        assert!(above["workspace"]["dependencies"]["wit-bindgen"]["version"].is_str());
        assert!(text(&format!("{FOLDER}/wit/stage.wit")).contains("package bulkhead:stage"));
        let lock = text("Cargo.lock");
        assert!(
            lock.contains("name = \"serde\"") && !lock.contains("bulkhead"),
            "the lock names crates of the repository"
        );
    }
}
