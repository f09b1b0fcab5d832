//! Where a sealed value belongs, as the tag covers it.
//!
//! Must never: give the same bytes for two different places.

use bulkhead_core::name::TenantId;

/// Where a value belongs among all of a tenant's: what kind it is, then names and numbers that tell it from others of that kind.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a>(
    /// The parts, for instance `["secret", "shop.eu", "db-password", "3"]`.
    pub &'a [&'a str],
);

/// What the tag of a sealed value covers beside the value.
pub(crate) fn of_value(tenant: &TenantId, version: u32, place: Place<'_>) -> Vec<u8> {
    let version = version.to_be_bytes();
    let mut bytes = start(b"bulkhead.sealed.1", tenant, &version);
    place.0.iter().for_each(|part| push(&mut bytes, part.as_bytes()));
    bytes
}

/// What the tag of a wrapped key covers beside the key.
pub(crate) fn of_key(tenant: &TenantId, version: u32) -> Vec<u8> {
    start(b"bulkhead.wrapped.1", tenant, &version.to_be_bytes())
}

/// What the tags of an envelope cover beside its key and its content.
pub(crate) fn of_envelope(name: Place<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    push(&mut bytes, b"bulkhead.envelope.1");
    name.0.iter().for_each(|part| push(&mut bytes, part.as_bytes()));
    bytes
}

/// What the tag covers of a thing of this kind that stands beside others, under a key that is no other pipeline's.
pub(crate) fn of_part(kind: &str, beside: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    push(&mut bytes, b"bulkhead.part.1");
    push(&mut bytes, kind.as_bytes());
    beside.iter().for_each(|part| push(&mut bytes, part));
    bytes
}

fn start(format: &[u8], tenant: &TenantId, version: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    push(&mut bytes, format);
    push(&mut bytes, tenant.as_str().as_bytes());
    push(&mut bytes, version);
    bytes
}

/// With the length before it, so that `ab` and `c` are not `a` and `bc`.
pub(crate) fn push(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
    bytes.extend_from_slice(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_places_have_other_bytes() {
        let tenant = |name: &str| name.parse::<TenantId>().unwrap();
        let places = [
            of_value(&tenant("acme"), 1, Place(&["secret", "shop", "a"])),
            of_value(&tenant("acme"), 2, Place(&["secret", "shop", "a"])),
            of_value(&tenant("acm"), 1, Place(&["secret", "shop", "a"])),
            of_value(&tenant("acme"), 1, Place(&["secret", "sho", "pa"])),
            of_value(&tenant("acme"), 1, Place(&["secret", "shop", "a", ""])),
            of_value(&tenant("acme"), 1, Place(&[])),
            of_key(&tenant("acme"), 1),
            of_key(&tenant("acme"), 2),
        ];
        for (i, place) in places.iter().enumerate() {
            assert!(!places[..i].contains(place), "place {i} is another's too");
        }
    }
}
