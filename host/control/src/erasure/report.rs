//! The report of an erasure: a JSON Web Signature by the issuer's key, which anybody can check with the published key set.
//!
//! Its header has a type of its own and its claims lack what a token needs, so neither can be taken for the other.
//! Must never: hold a name or a content of the tenant's.

use crate::api::App;
use crate::problem::Problem;
use crate::store::{Erasure, name_digest};
use crate::token::verify_document;
use bulkhead_core::name::TenantId;
use bulkhead_core::time::format_rfc3339_ms;
use serde_json::{Value, json};

/// The `typ` of a report's header.
const KIND: &str = "bulkhead-erasure+jwt";

/// What may stay whatever Bulkhead does.
const ALWAYS_ELSEWHERE: &[&str] = &[
    "what programs outside of Bulkhead have copied: readers of topics and buckets, backups, snapshots of disks",
    "the log that the host's processes write for their operator, which names tenants",
    "the audits of other tenants and of the platform, where somebody else has typed this tenant's name",
    "blocks of the disk that files once had, until the file system or the disk uses them again",
];

impl App {
    /// Signs what is known of an erasure. `elsewhere` says what may stay in systems that Bulkhead uses.
    pub(crate) fn sign_report(&self, erasure: &Erasure, elsewhere: &[String]) -> Result<String, Problem> {
        let elsewhere: Vec<&str> =
            elsewhere.iter().map(String::as_str).chain(ALWAYS_ELSEWHERE.iter().copied()).collect();
        let document = json!({
            "jti": erasure.id,
            "tenantDigest": erasure.name_digest,
            "complete": erasure.complete,
            "startedAt": format_rfc3339_ms(erasure.begun_ms),
            "finishedAt": erasure.ended_ms.map(format_rfc3339_ms),
            "by": erasure.begun_by,
            "deleted": erasure.deleted,
            "remaining": erasure.remaining,
            "verified": erasure.verified,
            "elsewhere": elsewhere,
        });
        self.signer().sign_document(KIND, document).map_err(Problem::internal)
    }
}

/// Reads a report that the owner of one of these keys has signed; of this tenant, where one is named.
///
/// # Errors
/// A sentence that says why it proves nothing.
pub fn verify_report(report: &str, key_set: &Value, tenant: Option<&TenantId>) -> Result<Value, String> {
    let document = verify_document(KIND, report, key_set)?;
    let id = document["jti"].as_str().unwrap_or_default();
    if let Some(tenant) = tenant
        && document["tenantDigest"] != json!(name_digest(id, tenant.as_str()))
    {
        return Err(format!("it is the report of another tenant than `{tenant}`"));
    }
    Ok(document)
}
