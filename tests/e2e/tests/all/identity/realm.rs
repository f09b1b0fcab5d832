//! The administration of a realm, by Keycloak's REST API.
//!
//! Must never: change what other tests of the run rely on, except where a test has Keycloak for itself.

use anyhow::{Context, Result, ensure};
use bulkhead_test_services::{KEYCLOAK_ADMIN, KEYCLOAK_PASSWORD, Keycloak};
use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::{Value, json};
use std::time::Duration;

/// The password of every user that tests make.
pub(super) const PASSWORD: &str = "correct-horse";

pub(super) struct Realm {
    http: Client,
    server: String,
    name: String,
}

/// Text as a form's value.
fn form(fields: &[(&str, &str)]) -> Result<String> {
    let url = reqwest::Url::parse_with_params("http://localhost/", fields)?;
    Ok(url.query().unwrap_or_default().to_owned())
}

impl Realm {
    pub(super) fn new(keycloak: &Keycloak, name: &str) -> Result<Self> {
        let http = Client::builder().timeout(Duration::from_secs(60)).no_proxy().build()?;
        Ok(Self { http, server: keycloak.url(), name: name.to_owned() })
    }

    /// Asks a realm's token endpoint.
    pub(super) fn ask(&self, realm: &str, fields: &[(&str, &str)]) -> Result<Value> {
        let url = format!("{}/realms/{realm}/protocol/openid-connect/token", self.server);
        let request = self.http.post(url).header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(form(fields)?).send()?;
        let status = answer.status();
        let said: Value = answer.json()?;
        ensure!(status.is_success(), "Keycloak answered {status}: {said}");
        Ok(said)
    }

    /// An administrator's token, of the realm `master`.
    pub(super) fn admin_token(&self) -> Result<String> {
        let who = [("username", KEYCLOAK_ADMIN), ("password", KEYCLOAK_PASSWORD)];
        let said = self.ask("master", &[("client_id", "admin-cli"), ("grant_type", "password"), who[0], who[1]])?;
        Ok(said["access_token"].as_str().context("a token")?.to_owned())
    }

    fn admin(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let url = format!("{}/admin/realms/{}{path}", self.server, self.name);
        let mut request = self.http.request(method, &url).bearer_auth(self.admin_token()?);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send()?;
        let (status, text) = (answer.status(), answer.text()?);
        ensure!(status.is_success(), "{url}: Keycloak answered {status}: {text}");
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    fn get(&self, path: &str) -> Result<Value> {
        self.admin(Method::GET, path, None)
    }

    fn client(&self, client: &str) -> Result<Value> {
        Ok(self.get(&format!("/clients?clientId={client}"))?[0].take())
    }

    /// The secret that Keycloak made for a client.
    pub(super) fn secret(&self, client: &str) -> Result<String> {
        let id = self.client(client)?["id"].as_str().context("no such client")?.to_owned();
        let secret = self.get(&format!("/clients/{id}/client-secret"))?;
        Ok(secret["value"].as_str().context("no secret")?.to_owned())
    }

    /// A token of a client's service account.
    pub(super) fn token(&self, client: &str) -> Result<String> {
        let secret = self.secret(client)?;
        let fields = [("client_id", client), ("client_secret", &secret), ("grant_type", "client_credentials")];
        Ok(self.ask(&self.name, &fields)?["access_token"].as_str().context("a token")?.to_owned())
    }

    /// Makes a client with a service account that has these roles, as the one of the CI system is in the realm's file.
    pub(super) fn machine(&self, name: &str, tenant: Option<&str>, roles: &[&str]) -> Result<()> {
        let like = self.client("acme-ci")?;
        let mut client = json!({"clientId": name});
        for field in ["publicClient", "serviceAccountsEnabled", "standardFlowEnabled", "defaultClientScopes"] {
            client[field] = like[field].clone();
        }
        self.admin(Method::POST, "/clients", Some(&client))?;
        let id = self.client(name)?["id"].as_str().context("the client")?.to_owned();
        let user = self.get(&format!("/clients/{id}/service-account-user"))?;
        self.give(user, tenant, roles)
    }

    /// Makes a user with these roles, and gives its id.
    pub(super) fn user(&self, name: &str, tenant: &str, roles: &[&str]) -> Result<String> {
        let credentials = json!([{"type": "password", "value": PASSWORD, "temporary": false}]);
        let user = json!({"username": name, "enabled": true, "email": format!("{name}@example.com"),
            "emailVerified": true, "firstName": name, "lastName": "Test", "credentials": credentials});
        self.admin(Method::POST, "/users", Some(&user))?;
        let user = self.get(&format!("/users?username={name}&exact=true"))?[0].take();
        let id = user["id"].as_str().context("the user")?.to_owned();
        self.give(user, Some(tenant), roles)?;
        Ok(id)
    }

    fn give(&self, mut user: Value, tenant: Option<&str>, roles: &[&str]) -> Result<()> {
        let id = user["id"].as_str().context("the user")?.to_owned();
        if let Some(tenant) = tenant {
            user["attributes"] = json!({"tenant": [tenant]});
            self.admin(Method::PUT, &format!("/users/{id}"), Some(&user))?;
        }
        for role in roles {
            let role = self.get(&format!("/roles/{role}"))?;
            self.admin(Method::POST, &format!("/users/{id}/role-mappings/realm"), Some(&json!([role])))?;
        }
        Ok(())
    }

    /// Takes a role from a user.
    pub(super) fn take_role(&self, user: &str, role: &str) -> Result<()> {
        let role = self.get(&format!("/roles/{role}"))?;
        self.admin(Method::DELETE, &format!("/users/{user}/role-mappings/realm"), Some(&json!([role]))).map(drop)
    }

    /// Lets a user log in no more.
    pub(super) fn disable(&self, user: &str) -> Result<()> {
        self.admin(Method::PUT, &format!("/users/{user}"), Some(&json!({"enabled": false}))).map(drop)
    }

    /// How long a client's tokens live.
    pub(super) fn token_life(&self, client: &str, seconds: u32) -> Result<()> {
        let mut shown = self.client(client)?;
        shown["attributes"]["access.token.lifespan"] = seconds.to_string().into();
        let id = shown["id"].as_str().context("the client")?.to_owned();
        self.admin(Method::PUT, &format!("/clients/{id}"), Some(&shown)).map(drop)
    }

    /// The realm's public keys, as it publishes them.
    pub(super) fn published(&self) -> Result<Vec<Value>> {
        let url = format!("{}/realms/{}/protocol/openid-connect/certs", self.server, self.name);
        let mut keys: Value = self.http.get(url).send()?.json()?;
        Ok(keys["keys"].as_array_mut().context("keys")?.drain(..).filter(|key| key["use"] == "sig").collect())
    }

    /// Makes a key that signs from now on, beside those there are.
    pub(super) fn add_key(&self, name: &str) -> Result<()> {
        let realm = self.get("")?;
        let config = json!({"priority": ["1000"], "algorithm": ["RS256"], "keySize": ["2048"], "active": ["true"], "enabled": ["true"]});
        let component = json!({"name": name, "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
            "parentId": realm["id"], "config": config});
        self.admin(Method::POST, "/components", Some(&component)).map(drop)
    }

    /// Removes the keys that sign, but for this one.
    pub(super) fn remove_other_keys(&self, name: &str) -> Result<()> {
        let all = self.get("/components?type=org.keycloak.keys.KeyProvider")?;
        let others = all.as_array().into_iter().flatten().filter(|key| key["providerId"] == "rsa-generated");
        for key in others.filter(|key| key["name"] != name) {
            let id = key["id"].as_str().context("an id")?;
            self.admin(Method::DELETE, &format!("/components/{id}"), None)?;
        }
        Ok(())
    }
}
