//! `bulkhead new`: a stage's project that builds, tests and deploys as it stands, on a machine with Rust and nothing else.
//!
//! Outside this repository the SDK is in no registry, so its sources travel in this binary and are written into the project's
//! `vendor/`; what they depend on comes from the registry, in the versions that this binary was built with (`Cargo.lock`).
//! Must never: write over anything, or leave half a project behind.

mod vendor;

use super::failure::Complaint;
use super::output;
use bulkhead_core::code::Code;
use bulkhead_core::name::ModuleName;
use clap::Args;
use std::path::{Path, PathBuf};

/// The project's own files, with `{{name}}`, `{{crate}}`, `{{sdk}}` and `{{sandbox}}` to be filled in.
const TEMPLATE: [(&str, &str); 8] = [
    ("Cargo.toml", include_str!("template/Cargo.toml.in")),
    ("README.md", include_str!("template/README.md.in")),
    (".gitignore", include_str!("template/gitignore.in")),
    ("pipeline.yaml", include_str!("template/pipeline.yaml.in")),
    ("sample.jsonl", include_str!("template/sample.jsonl.in")),
    ("src/lib.rs", include_str!("template/lib.rs.in")),
    ("tests/native.rs", include_str!("template/native.rs.in")),
    ("tests/sandbox.rs", include_str!("template/sandbox.rs.in")),
];

/// Names that are no crate's: keywords, Rust's own crates, and those that the project uses.
const TAKEN: &str = "abstract alloc as async await become box break bulkhead-sandbox bulkhead-sdk bulkhead-sdk-macros const continue core \
    crate do dyn else enum extern false final fn for gen if impl in \
    let loop macro match mod move mut override priv proc-macro pub ref return self \
    serde static std struct super test trait true try type typeof unsafe unsized use \
    virtual where while yield";

/// Makes the folder NAME with a stage, its tests, a manifest and sample records. Where it is to be built, Rust has to be installed.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The stage's name: its crate's, its module's and its pipeline's
    name: ModuleName,
    /// The folder to make [default: NAME]
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
    /// Take the SDK from a folder with Bulkhead's repository, or a Git URL of it, instead of writing its sources to vendor/
    #[arg(long, value_name = "FOLDER|URL")]
    sdk: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// Where the name or the folder is taken, or files cannot be written.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let name = arguments.name.as_str();
    let refuse = |detail: String| Err(Complaint::new(Code::ProjectNotMade, detail).into());
    if TAKEN.split(' ').any(|taken| taken == name) {
        return refuse(format!("`{name}` cannot be a crate's name; choose another"));
    }
    let folder = arguments.path.clone().unwrap_or_else(|| PathBuf::from(name));
    if folder.exists() {
        return refuse(format!("{} is there already; choose another name, or a folder with --path", folder.display()));
    }
    let mut files = Vec::new();
    let (sdk, sandbox) = match &arguments.sdk {
        None => {
            files.extend(vendor::files()?);
            vendor::dependencies()
        }
        Some(sdk) => elsewhere(sdk)?,
    };
    for (path, text) in TEMPLATE {
        let text = text.replace("{{name}}", name).replace("{{crate}}", &name.replace('-', "_"));
        files.push((path.to_owned(), text.replace("{{sdk}}", &sdk).replace("{{sandbox}}", &sandbox)));
    }
    files.push(("rust-toolchain.toml".to_owned(), vendor::toolchain()));
    write(&folder, &files)
        .map_err(|error| Complaint::new(Code::ProjectNotMade, format!("writing {}: {error}", folder.display())))?;
    next_steps(name, &folder)
}

/// Dependencies on an SDK that is somewhere else: SDK, sandbox.
fn elsewhere(sdk: &str) -> anyhow::Result<(String, String)> {
    if sdk.contains("://") || sdk.starts_with("git@") {
        let git = format!("{{ git = {:?} }}", sdk);
        return Ok((git.clone(), git));
    }
    let missing = |error: &dyn std::fmt::Display| {
        let detail = format!("{sdk} is no folder with Bulkhead's repository (guest-sdk/rust is looked for): {error}");
        Complaint::new(Code::ProjectNotMade, detail)
    };
    let root = Path::new(sdk).canonicalize().map_err(|error| missing(&error))?;
    let at = |part: &str| -> anyhow::Result<String> {
        let folder = root.join("guest-sdk").join(part);
        folder.join("Cargo.toml").metadata().map_err(|error| missing(&error))?;
        Ok(format!("{{ path = {:?} }}", folder.display().to_string()))
    };
    Ok((at("rust")?, at("sandbox")?))
}

/// Writes all files into a folder beside the wanted one and renames it: the project is there whole or not at all.
fn write(folder: &Path, files: &[(String, String)]) -> std::io::Result<()> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)?;
    let name = folder.file_name().ok_or_else(|| std::io::Error::other("it has no name"))?.to_string_lossy();
    let draft = parent.join(format!(".{name}.{}", std::process::id()));
    let written = files.iter().try_for_each(|(path, text)| {
        let path = draft.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(&draft))?;
        std::fs::write(path, text)
    });
    // Source code is for whoever may read the folder that it is in, unlike the rest of what this process writes.
    let done = written.and_then(|()| readable(&draft)).and_then(|()| std::fs::rename(&draft, folder));
    if done.is_err() {
        // The first error is the one to tell.
        _ = std::fs::remove_dir_all(&draft);
    }
    done
}

fn readable(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let allow = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { readable(&path)? } else { allow(&path, 0o644)? }
    }
    allow(folder, 0o755)
}

fn next_steps(name: &str, folder: &Path) -> anyhow::Result<()> {
    let here = folder.display();
    output::line(&format!("made {here}: a stage, its tests, a pipeline and sample records\n\nnext:\n  cd {here}"))?;
    if let Some(export) = not_on_the_path() {
        // The project's test in the sandbox runs this program.
        output::line(&format!("  {export}"))?;
    }
    output::line(&format!(
        "  cargo test                                             # natively, and in the sandbox
  cargo build --profile guest --target wasm32-wasip2
  README.md goes on from there: topics, upload, `bulkhead pipeline apply -f pipeline.yaml`, first records of {name}"
    ))
}

/// What puts this program on the path, where it is not.
fn not_on_the_path() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join("bulkhead").is_file());
    let folder = program.parent()?.display();
    (!found).then(|| format!("export PATH=\"{folder}:$PATH\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_whole_or_not_there() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("made");
        write(&folder, &[("src/lib.rs".to_owned(), "//! x\n".to_owned())]).unwrap();
        assert!(folder.join("src/lib.rs").is_file());
        let bad = [("a".to_owned(), String::new()), ("a/b".to_owned(), String::new())];
        assert!(write(&parent.path().join("half"), &bad).is_err());
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1, "something was left behind");
    }
}
