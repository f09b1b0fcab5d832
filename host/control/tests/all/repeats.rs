//! A request sent again under its key is done once, and keys are a tenant's own.

use crate::client::Answer;
use crate::harness::Server;
use crate::pipelines::{MANIFEST, ready};
use bulkhead_control::Role;
use serde_json::json;

const PROJECTS: &str = "/api/v1/tenants/acme/projects";
const AT: &str = "/api/v1/tenants/acme/projects/default/pipelines/p";
const KEY: &str = "idempotency-key";

fn replayed(answer: &Answer) -> bool {
    answer.headers.contains_key("idempotency-replayed")
}

#[tokio::test]
async fn a_request_sent_again_gets_the_first_ones_answer() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    let shop = json!({"name": "shop"}).to_string();
    let first = dev.send("POST", PROJECTS, (KEY, "k-1"), shop.clone()).await;
    let second = dev.send("POST", PROJECTS, (KEY, "k-1"), shop.clone()).await;
    assert_eq!((first.status, replayed(&first)), (201, false));
    assert_eq!((second.status, replayed(&second)), (201, true), "{}", second.text);
    assert_eq!((&second.text, second.etag()), (&first.text, first.etag()));
    dev.send("POST", PROJECTS, (KEY, "k-2"), shop).await.refused(409, "BH0010");
    let gone = dev.send("DELETE", &format!("{PROJECTS}/shop"), (KEY, "k-3"), "").await;
    let again = dev.send("DELETE", &format!("{PROJECTS}/shop"), (KEY, "k-3"), "").await;
    assert_eq!((gone.status, again.status, replayed(&again)), (204, 204, true));
}

#[tokio::test]
async fn a_key_stands_for_one_request() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.send("PUT", AT, (KEY, "k"), MANIFEST).await.expect(201);
    dev.send("PUT", AT, (KEY, "k"), format!("{MANIFEST}# more")).await.refused(422, "BH0014");
    dev.send("PUT", &format!("{AT}?start=latest"), (KEY, "k"), MANIFEST).await.refused(422, "BH0014");
    dev.send("DELETE", AT, (KEY, "k"), "").await.refused(422, "BH0014");
    let other = server.client("acme", Role::TenantAdmin);
    other.send("PUT", AT, (KEY, "k"), MANIFEST).await.refused(422, "BH0014");
    assert_eq!(dev.get(AT).await.expect(200)["revision"], 1);
    for bad in ["", "two words", &"x".repeat(201)] {
        dev.send("PUT", AT, (KEY, bad), MANIFEST).await.refused(400, "BH0007");
    }
}

#[tokio::test]
async fn a_refusal_is_not_kept_because_nothing_was_done() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    let eu = json!({"name": "shop.eu"}).to_string();
    dev.send("POST", PROJECTS, (KEY, "k"), eu.clone()).await.refused(422, "BH0016");
    dev.post(PROJECTS, &json!({"name": "shop"})).await.expect(201);
    dev.send("POST", PROJECTS, (KEY, "k"), eu).await.expect(201);
}

#[tokio::test]
async fn tenants_keys_never_meet() {
    let server = Server::start().await;
    let acme = server.tenant("acme").await;
    let globex = server.tenant("globex").await;
    let shop = json!({"name": "shop"}).to_string();
    acme.send("POST", PROJECTS, (KEY, "k"), shop.clone()).await.expect(201);
    let other = globex.send("POST", "/api/v1/tenants/globex/projects", (KEY, "k"), shop.clone()).await;
    assert_eq!((other.status, replayed(&other)), (201, false));
    globex.send("POST", PROJECTS, (KEY, "k"), shop.clone()).await.refused(404, "BH0005");
    server.anybody().send("POST", PROJECTS, (KEY, "k"), shop.clone()).await.refused(401, "BH0001");
    server.client("acme", Role::Viewer).send("POST", PROJECTS, (KEY, "v"), shop).await.refused(403, "BH0004");
}

#[tokio::test]
async fn a_second_request_of_a_key_does_not_run_beside_the_first() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let sent = (0..8).map(|_| {
        let dev = server.client("acme", Role::Developer);
        tokio::spawn(async move { dev.send("PUT", AT, (KEY, "k"), MANIFEST).await })
    });
    let mut done = 0;
    for answer in sent.collect::<Vec<_>>() {
        let answer = answer.await.unwrap();
        if answer.status == 409 {
            answer.refused(409, "BH0015");
        } else {
            done += u32::from(!replayed(&answer));
            assert_eq!(answer.expect(201)["revision"], 1);
        }
    }
    assert_eq!(done, 1, "it was done more than once, or never");
    assert_eq!(dev.get(AT).await.expect(200)["revision"], 1);
}
