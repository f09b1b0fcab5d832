//! People log in: in a browser, and by a code. Their login is renewed, and ends where Keycloak ends it.

use super::page::Page;
use super::{TENANT, host, keycloak, realm};
use crate::shell::Shell;
use anyhow::{Context, Result};
use bulkhead_testbed::{Host, until};
use std::os::unix::fs::PermissionsExt;

/// So short that every command renews the token.
const ALWAYS_DUE_S: u32 = 25;

fn shell(host: &Host) -> Result<Shell> {
    let mut shell = Shell::new()?;
    shell.set("BULKHEAD_SERVER", host.url());
    Ok(shell)
}

fn config(shell: &Shell) -> Result<String> {
    Ok(std::fs::read_to_string(shell.folder().join("config/bulkhead/config.toml"))?)
}

/// The stored text after this name.
fn stored<'a>(config: &'a str, name: &str) -> Result<&'a str> {
    let line = config.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name} stored"))?;
    Ok(line.trim_matches([' ', '=', '"']))
}

/// The part of a URL's query with this name.
fn query(url: &str, name: &str) -> Result<String> {
    let url = reqwest::Url::parse(url)?;
    let found = url.query_pairs().find_map(|(known, value)| (known == name).then(|| value.into_owned()));
    found.with_context(|| format!("no {name} in {url}"))
}

#[test]
fn a_browser_logs_in_the_login_is_renewed_and_ends_with_the_account() -> Result<()> {
    let keycloak = keycloak()?;
    let realm = realm(&keycloak)?;
    let ann = realm.user("ann", TENANT, &["developer", "viewer"])?;
    realm.token_life("bulkhead-cli", ALWAYS_DUE_S)?;
    let host = host(&keycloak)?;
    let shell = shell(&host)?;

    let mut login = shell.begin(&["login", "--browser"])?;
    let url = format!("http{}", login.told("http")?);
    assert_eq!(query(&url, "code_challenge_method")?, "S256");
    let back = query(&url, "redirect_uri")?;
    assert!(back.starts_with("http://127.0.0.1:"), "{back}");
    // Somebody else on this machine cannot answer in Keycloak's place, and the login goes on.
    let forged = reqwest::blocking::get(format!("{back}?code=x&state=guess"))?;
    assert_eq!(forged.status().as_u16(), 400);
    let page = Page::open()?;
    page.go(&url)?;
    page.log_in("ann")?;
    page.wait("You may close this page")?;
    let said = login.end()?;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("tenant   acme") && said.out.contains("developer"), "{}", said.out);

    let path = shell.folder().join("config/bulkhead/config.toml");
    assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
    let first = config(&shell)?;
    assert!(!said.error.contains(stored(&first, "refresh")?) && !said.out.contains("eyJ"), "a token was shown");
    let server = format!("\"{}\"", host.url());
    shell.ok(&["topic", "create", "orders"])?;
    let renewed = config(&shell)?;
    assert_ne!(stored(&first, &server)?, stored(&renewed, &server)?, "the token was not renewed");

    // A command that goes on for longer than a token lives renews it as well.
    let following = shell.begin(&["consume", "orders", "--follow"])?;
    until("the token to be renewed while a command runs", || {
        let now = config(&shell).map_err(|error| error.to_string())?;
        if stored(&now, &server).ok() == stored(&renewed, &server).ok() {
            Err("it is the same".to_owned())
        } else {
            Ok(())
        }
    })?;
    drop(following);

    realm.take_role(&ann, "developer")?;
    let weaker = shell.run(&["topic", "create", "more"])?;
    assert_eq!(weaker.code, 6, "a role that was taken away still counts: {weaker:?}");
    shell.ok(&["topic", "list"])?;

    realm.disable(&ann)?;
    let ended = shell.run(&["topic", "list"])?;
    assert_eq!(ended.code, 6, "{ended:?}");
    assert!(ended.error.contains("BH0044"), "{}", ended.error);
    assert!(ended.error.contains(&format!("bulkhead login --browser {}", host.url())), "{}", ended.error);
    Ok(())
}

#[test]
fn a_code_on_another_device_logs_in_and_a_logout_ends_it_at_keycloak() -> Result<()> {
    let keycloak = keycloak()?;
    let realm = realm(&keycloak)?;
    realm.user("dan", TENANT, &["viewer"])?;
    let host = host(&keycloak)?;
    let shell = shell(&host)?;

    let mut login = shell.begin(&["login", "--device", "--output", "json"])?;
    login.told("and enter this code:")?;
    login.told("Or open this one")?;
    let url = login.told(&format!("{}/realms/bulkhead/device?user_code=", keycloak.url()))?;
    let page = Page::open()?;
    page.go(&format!("{}/realms/bulkhead/device?user_code={url}", keycloak.url()))?;
    page.log_in("dan")?;
    page.wait("name=\"accept\"")?;
    page.press("[name=accept]")?;
    let said = login.end()?;
    assert_eq!(said.code, 0, "{said:?}");
    let who: serde_json::Value = serde_json::from_str(&said.out)?;
    assert_eq!((&who["tenant"], &who["roles"]), (&TENANT.into(), &serde_json::json!(["viewer"])));

    let before = config(&shell)?;
    let refresh = stored(&before, "refresh")?;
    let fields = [("client_id", "bulkhead-cli"), ("grant_type", "refresh_token"), ("refresh_token", refresh)];
    realm.ask(super::REALM, &fields).context("the refresh token is good until the logout")?;
    shell.ok(&["logout"])?;
    assert!(!config(&shell)?.contains("eyJ"), "a token stayed in the config file");
    assert!(realm.ask(super::REALM, &fields).is_err(), "the login goes on at Keycloak");
    let after = shell.run(&["topic", "list"])?;
    assert!(after.code == 6 && after.error.contains("BH0603"), "{after:?}");
    Ok(())
}

#[test]
fn what_is_not_offered_is_said() -> Result<()> {
    let plain = crate::shared::host()?;
    let shell = shell(&plain)?;
    for way in ["--browser", "--device"] {
        let said = shell.run(&["login", way])?;
        assert!(said.code == 1 && said.error.contains("BH0046"), "{said:?}");
    }
    let secretless = shell.run(&["login", "--client-credentials"])?;
    assert!(secretless.code == 2 && secretless.error.contains("--client-secret-file"), "{secretless:?}");
    Ok(())
}
