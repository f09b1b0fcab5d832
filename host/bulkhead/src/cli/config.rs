//! What the command line knows before it asks: flags, environment and the config file, in this order of strength.
//!
//! The file is `bulkhead/config.toml` in `$XDG_CONFIG_HOME` or `~/.config`:
//!
//! ```toml
//! server = "https://bulkhead.example.com"
//! tenant = "acme"
//! project = "default"
//! output = "table"
//! ca = "/etc/ssl/our-own.pem"
//!
//! [tokens]
//! "https://bulkhead.example.com" = "eyJ…"
//!
//! [logins."https://bulkhead.example.com"]
//! issuer = "https://id.example.com/realms/bulkhead"
//! client = "bulkhead-cli"
//! refresh = "eyJ…"
//! expires = 1767225600
//! ```
//!
//! A token, and the login that renews it, are kept for the server that it is for, so that no other server is ever sent it.
//! Must never: write the file where others can read it, or show a token.

use super::failure::Complaint;
use super::output::Format;
use bulkhead_core::code::Code;
use bulkhead_core::name::{ProjectId, TenantId};
use clap::Args;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where control is, where nothing says otherwise: what `bulkhead serve` listens on.
const DEFAULT_SERVER: &str = "http://127.0.0.1:7070";
/// The project that every tenant has.
const DEFAULT_PROJECT: &str = "default";
/// The environment variable with the token itself. It is no flag, because every user of a machine can read its processes' flags.
const TOKEN_VARIABLE: &str = "BULKHEAD_TOKEN";

/// Options of every command that speaks to a server.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Where the API is [default: the config file's, or http://127.0.0.1:7070]
    #[arg(long, global = true, env = "BULKHEAD_SERVER", value_name = "URL", hide_env_values = true)]
    pub(crate) server: Option<String>,
    /// Whose things [default: the config file's, or the token's tenant]
    #[arg(long, global = true, env = "BULKHEAD_TENANT", value_name = "NAME", hide_env_values = true)]
    pub(crate) tenant: Option<TenantId>,
    /// In which project [default: the config file's, or `default`]
    #[arg(long, global = true, env = "BULKHEAD_PROJECT", value_name = "NAME", hide_env_values = true)]
    pub(crate) project: Option<ProjectId>,
    /// File with the token; BULKHEAD_TOKEN is the token itself [default: what `bulkhead login` stored]
    #[arg(long, global = true, env = "BULKHEAD_TOKEN_FILE", value_name = "FILE", hide_env_values = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// File with the authorities, in PEM, one of which has signed an https:// server's certificate [default: the config file's, or this
    /// system's]
    #[arg(long, global = true, env = "BULKHEAD_CA", value_name = "FILE", hide_env_values = true)]
    pub(crate) ca: Option<PathBuf>,
    /// The config file [default: bulkhead/config.toml in $XDG_CONFIG_HOME or ~/.config]
    #[arg(long, global = true, env = "BULKHEAD_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// A table for people, or the API's own JSON for programs [default: the config file's, or table]
    #[arg(long, short = 'o', global = true, value_enum, env = "BULKHEAD_OUTPUT", hide_env_values = true)]
    pub(crate) output: Option<Format>,
}

/// The config file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) server: Option<String>,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) project: Option<ProjectId>,
    pub(crate) output: Option<Format>,
    pub(crate) ca: Option<PathBuf>,
    /// By server.
    #[serde(default)]
    tokens: BTreeMap<String, String>,
    /// By server.
    #[serde(default)]
    logins: BTreeMap<String, Login>,
}

/// Where a token came from, so that it can be renewed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// The identity provider.
    pub(crate) issuer: String,
    /// The client that logged in there.
    pub(crate) client: String,
    /// What gets a new token; none for a machine's login.
    pub(crate) refresh: Option<String>,
    /// Seconds since the epoch at which the token ends.
    pub(crate) expires: i64,
}

/// What all three say together.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) server: String,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) project: ProjectId,
    pub(crate) output: Format,
    /// File with the authorities to believe instead of the system's.
    pub(crate) ca: Option<PathBuf>,
    /// Where the token came from, if it is the config file's and a login's.
    pub(crate) login: Option<Login>,
    token: Option<String>,
    token_file: Option<PathBuf>,
}

impl Settings {
    /// The settings for these flags. Clap has put the environment into the flags that were not given.
    ///
    /// # Errors
    /// [`Code::CliConfigInvalid`] where the file is there and not as it must be.
    pub(crate) fn of(flags: &Connection) -> anyhow::Result<Self> {
        let path = path(flags)?;
        let file = read(&path)?;
        let server = flags.server.as_deref().or(file.server.as_deref()).unwrap_or(DEFAULT_SERVER);
        let server = normal(server)?;
        let project = flags.project.clone().or(file.project);
        let of_environment = token_of_environment();
        let stored = of_environment.is_none() && flags.token_file.is_none();
        Ok(Self {
            tenant: flags.tenant.clone().or(file.tenant),
            project: project.map_or_else(|| DEFAULT_PROJECT.parse(), Ok)?,
            output: flags.output.or(file.output).unwrap_or_default(),
            login: file.logins.get(&server).filter(|_| stored).cloned(),
            token: of_environment.or_else(|| file.tokens.get(&server).cloned()),
            token_file: flags.token_file.clone(),
            ca: flags.ca.clone().or(file.ca),
            server,
        })
    }

    /// The authorities to believe instead of the system's; none where no file is named.
    ///
    /// # Errors
    /// [`Code::CliConfigInvalid`] where the file holds none.
    pub(crate) fn authorities(&self) -> anyhow::Result<Vec<reqwest::Certificate>> {
        let read = |file: &PathBuf| crate::tls::authorities(file);
        let found = self.ca.as_ref().map_or_else(|| Ok(Vec::new()), read);
        Ok(found.map_err(|detail| Complaint::new(Code::CliConfigInvalid, detail))?)
    }

    /// The token for the server.
    ///
    /// # Errors
    /// [`Code::TokenNotStored`] where nothing gives one; [`Code::LocalFailure`] where its file cannot be read.
    pub(crate) fn token(&self) -> anyhow::Result<String> {
        if let Some(file) = &self.token_file {
            return Ok(super::read_text(file)?.trim().to_owned());
        }
        let detail = || {
            format!(
                "there is no token for {}; run `bulkhead login {}`, or set {TOKEN_VARIABLE}",
                self.server, self.server
            )
        };
        let token = self.token.as_deref().map(str::trim).map(str::to_owned);
        Ok(token.ok_or_else(|| Complaint::new(Code::TokenNotStored, detail()))?)
    }
}

/// The token in the environment.
pub(crate) fn token_of_environment() -> Option<String> {
    std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.trim().is_empty())
}

/// The server's address as it is kept: without a slash at the end.
///
/// # Errors
/// [`Code::CliConfigInvalid`] where it is no address.
pub(crate) fn normal(server: &str) -> anyhow::Result<String> {
    let trimmed = server.trim().trim_end_matches('/');
    let bad = |why: String| {
        let detail = format!("`{trimmed}` is not a server's address: {why}; write it like {DEFAULT_SERVER}");
        Complaint::new(Code::CliConfigInvalid, detail)
    };
    let url = reqwest::Url::parse(trimmed).map_err(|error| bad(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(bad("it must begin with http:// or https://".to_owned()).into());
    }
    Ok(trimmed.to_owned())
}

/// Where the config file is, or would be.
///
/// # Errors
/// [`Code::CliConfigInvalid`] where neither a flag nor the environment says.
pub(crate) fn path(flags: &Connection) -> anyhow::Result<PathBuf> {
    if let Some(path) = &flags.config {
        return Ok(path.clone());
    }
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")));
    let detail = "neither XDG_CONFIG_HOME nor HOME is set; name the config file with --config";
    Ok(home.ok_or_else(|| Complaint::new(Code::CliConfigInvalid, detail))?.join("bulkhead/config.toml"))
}

fn read(path: &Path) -> anyhow::Result<File> {
    let bad = |why: String| Complaint::new(Code::CliConfigInvalid, format!("{}: {why}", path.display()));
    match std::fs::read_to_string(path) {
        // A parser's message may show the line, and a line may hold a token.
        Ok(text) => toml_edit::de::from_str(&text).map_err(|error| bad(error.message().to_owned()).into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(File::default()),
        Err(error) => Err(bad(error.to_string()).into()),
    }
}

/// Keeps a token for a server, with the login that it came from where it did, and makes the server the default, with this tenant where
/// the token has one, and with the file of authorities that it was reached with. Comments and order of the file stay.
///
/// # Errors
/// [`Code::CliConfigInvalid`] where the file is there and not TOML; [`Code::LocalFailure`] where it cannot be written.
pub(crate) fn store(
    path: &Path,
    server: &str,
    tenant: Option<&str>,
    token: &str,
    login: Option<&Login>,
    ca: Option<&Path>,
) -> anyhow::Result<()> {
    let mut document = document(path)?;
    document["server"] = toml_edit::value(server);
    match tenant {
        Some(tenant) => document["tenant"] = toml_edit::value(tenant),
        None => _ = document.remove("tenant"),
    }
    if let Some(ca) = ca.and_then(|ca| std::path::absolute(ca).ok()) {
        document["ca"] = toml_edit::value(ca.to_string_lossy().as_ref());
    }
    put(&mut document, server, token, login);
    write(path, &document)
}

/// Replaces the token for a server by the one that its login gave for it. What is the default stays.
///
/// # Errors
/// As [`store`].
pub(crate) fn renewed(path: &Path, server: &str, token: &str, login: &Login) -> anyhow::Result<()> {
    let mut document = document(path)?;
    put(&mut document, server, token, Some(login));
    write(path, &document)
}

/// Forgets token and login of a server, and gives the login.
///
/// # Errors
/// As [`store`].
pub(crate) fn forget(path: &Path, server: &str) -> anyhow::Result<Option<Login>> {
    let login = read(path)?.logins.remove(server);
    let mut document = document(path)?;
    for name in ["tokens", "logins"] {
        _ = document.get_mut(name).and_then(toml_edit::Item::as_table_like_mut).map(|table| table.remove(server));
    }
    // A file that is not there, or has nothing of the server, stays as it is.
    if path.exists() {
        write(path, &document)?;
    }
    Ok(login)
}

fn document(path: &Path) -> anyhow::Result<toml_edit::DocumentMut> {
    read(path)?;
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let bad = |_| Complaint::new(Code::CliConfigInvalid, format!("{} is not TOML", path.display()));
    Ok(text.parse().map_err(bad)?)
}

fn put(document: &mut toml_edit::DocumentMut, server: &str, token: &str, login: Option<&Login>) {
    for name in ["tokens", "logins"] {
        if !document.contains_table(name) {
            let mut table = toml_edit::Table::new();
            // A heading of its own only where something stands right below it.
            table.set_implicit(name == "logins");
            document[name] = toml_edit::Item::Table(table);
        }
    }
    document["tokens"][server] = toml_edit::value(token);
    let Some(login) = login else {
        _ = document["logins"].as_table_like_mut().map(|table| table.remove(server));
        return;
    };
    let mut table = toml_edit::Table::new();
    table["issuer"] = toml_edit::value(&login.issuer);
    table["client"] = toml_edit::value(&login.client);
    if let Some(refresh) = &login.refresh {
        table["refresh"] = toml_edit::value(refresh);
    }
    table["expires"] = toml_edit::value(login.expires);
    document["logins"][server] = toml_edit::Item::Table(table);
}

fn write(path: &Path, document: &toml_edit::DocumentMut) -> anyhow::Result<()> {
    write_private(path, &document.to_string())
        .map_err(|error| Complaint::new(Code::LocalFailure, format!("writing {}: {error}", path.display())).into())
}

/// Replaces a file by one that only its owner can read, whole or not at all.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let draft = path.with_extension(format!("toml.{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_one_name_however_it_is_written() {
        assert_eq!(normal("http://localhost:7070/").unwrap(), "http://localhost:7070");
        for bad in ["localhost:7070", "ftp://x", "", "http://"] {
            let said = normal(bad).unwrap_err().to_string();
            assert!(said.contains("write it like"), "{bad}: {said}");
        }
    }

    #[test]
    fn storing_a_token_keeps_what_people_wrote_and_the_file_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/config.toml");
        let login = Login { issuer: "i".into(), client: "c".into(), refresh: Some("again".into()), expires: 7 };
        store(&path, "http://a", Some("acme"), "one", Some(&login), None).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("# mine\noutput = \"json\"\n{text}")).unwrap();
        store(&path, "http://b", None, "two", None, Some(Path::new("/own.pem"))).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# mine\n"), "{text}");
        let file = read(&path).unwrap();
        assert_eq!(file.tokens.len(), 2);
        assert_eq!((file.server.as_deref(), file.tenant), (Some("http://b"), None));
        assert_eq!(file.ca.as_deref(), Some(Path::new("/own.pem")));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        renewed(&path, "http://a", "three", &Login { refresh: None, expires: 8, ..login.clone() }).unwrap();
        let file = read(&path).unwrap();
        assert_eq!((file.tokens["http://a"].as_str(), file.logins["http://a"].expires), ("three", 8));
        assert_eq!(file.server.as_deref(), Some("http://b"), "a renewal changed what is the default");
        store(&path, "http://a", None, "given", None, None).unwrap();
        assert!(read(&path).unwrap().logins.is_empty(), "a token that was given would be renewed by an old login");
    }

    #[test]
    fn what_is_forgotten_is_gone_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        assert!(forget(&path, "http://a").unwrap().is_none() && !path.exists());
        let login = Login { issuer: "i".into(), client: "c".into(), refresh: Some("again".into()), expires: 7 };
        store(&path, "http://a", None, "one", Some(&login), None).unwrap();
        store(&path, "http://b", None, "two", Some(&login), None).unwrap();
        assert_eq!(forget(&path, "http://a").unwrap().unwrap().refresh.as_deref(), Some("again"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("http://a") && !text.contains("one"), "{text}");
        assert_eq!(read(&path).unwrap().tokens.len(), 1);
    }

    #[test]
    fn a_file_with_an_unknown_field_is_told_without_its_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "tokem = \"secret\"\n").unwrap();
        let said = read(&path).unwrap_err().to_string();
        assert!(said.contains("tokem") && !said.contains("secret"), "{said}");
    }
}
