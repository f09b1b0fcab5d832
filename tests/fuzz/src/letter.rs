//! Dead letters: their headers, which anybody may have written who may write to the topic, and the sealed value.
//!
//! Must never: hold a key that is used for anything else.

use arbitrary::{Result, Unstructured};
use bulkhead_core::assignment::PipelineKey;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::dead_letter::{self as names, Coordinates, HEADER_PREFIX, Letter, LetterId, OUTSIDE};
use bulkhead_core::name::TopicName;
use bulkhead_vault::{LetterPlace, LocalMaster, PipelineKeys, Vault};
use std::sync::{Arc, LazyLock};

/// How the vault calls a sealed letter; a test sees that it is so.
const KIND: &str = "letter";
/// Headers of one record at most.
const HEADERS_MAX: usize = 24;
/// Values that evidence has.
const VALUES: [&str; 12] = [
    "BH0301",
    "BH0302",
    "trap",
    "out-of-fuel",
    "orders",
    "default",
    "0",
    "17",
    "-1",
    "99999999999999999999",
    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "1",
];

static KEYS: LazyLock<PipelineKeys> = LazyLock::new(|| {
    let vault = Vault::new(Arc::new(LocalMaster::generate().expect("random bytes")), None);
    let [tenant, project, pipeline] = ["acme", "default", "p"];
    let key = PipelineKey {
        tenant: tenant.parse().expect("a name"),
        project: project.parse().expect("a name"),
        pipeline: pipeline.parse().expect("a name"),
    };
    let wrapped = vault.new_key(&key.tenant, 1).expect("a key");
    vault.open(&key.tenant, vec![wrapped]).expect("its own key").of_pipeline(&key)
});
static TOPIC: LazyLock<TopicName> = LazyLock::new(|| "dead".parse().expect("a name"));
static SOURCE: LazyLock<Coordinates> = LazyLock::new(|| Coordinates { topic: TOPIC.clone(), partition: 3, offset: 41 });

/// See the module's documentation.
pub fn run(data: &[u8]) {
    opens_as_it_was_sealed(data);
    let mut input = Unstructured::new(data);
    // Too few bytes for a whole case make none.
    _ = is_read(&mut input).and_then(|()| changed_does_not_open(&mut input));
    if let Ok(id) = String::from_utf8_lossy(data).parse::<LetterId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}

fn place() -> LetterPlace<'static> {
    LetterPlace { topic: &TOPIC, source: &SOURCE }
}

/// Any bytes, sealed with the right key as if they were a letter: they are a record, which is the same bytes again, or nothing. Whether they
/// are one.
fn opens_as_it_was_sealed(packed: &[u8]) -> bool {
    let Coordinates { topic, partition, offset } = &*SOURCE;
    let (partition, offset) = (partition.to_be_bytes(), offset.to_be_bytes());
    let beside = [TOPIC.as_str().as_bytes(), topic.as_str().as_bytes(), &partition[..], &offset[..]];
    let sealed = KEYS.seal(KIND, &beside, packed).expect("random bytes");
    let mut batch = RecordBatch::default();
    match KEYS.open_letter(place(), &sealed, (7, 9), &mut batch) {
        Err(_) => {
            assert!(batch.is_empty(), "what does not open adds nothing");
            false
        }
        Ok(()) => {
            assert_eq!((batch.len(), batch.offsets[0], batch.timestamps[0]), (1, 7, 9));
            let mut again = Vec::new();
            pack(&mut again, batch.keys.get(0));
            pack(&mut again, batch.values.get(0));
            for (name, value) in batch.headers.row(0) {
                pack(&mut again, Some(name));
                pack(&mut again, value);
            }
            assert_eq!(again, packed, "two letters are the same record");
            true
        }
    }
}

fn pack(packed: &mut Vec<u8>, cell: Option<&[u8]>) {
    packed.extend_from_slice(&cell.map_or(u32::MAX, |cell| cell.len() as u32).to_be_bytes());
    packed.extend_from_slice(cell.unwrap_or_default());
}

fn is_read(input: &mut Unstructured<'_>) -> Result<()> {
    let mut headers: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
    if input.arbitrary()? {
        let module = VALUES[10];
        let sound = ["BH0301", "orders", "3", "41", "trap", "s", module, "default", "p", "2", "12"];
        headers.extend(OUTSIDE.iter().zip(sound).map(|(name, value)| header(name, value)));
    }
    for _ in 0..input.int_in_range(0..=HEADERS_MAX)? {
        let name = match input.int_in_range(0..=2)? {
            0 => input.bytes(3)?.to_vec(),
            _ => header(input.choose(&[&OUTSIDE[..], &[names::SEALED, names::LEFT_OUT]].concat())?, "").0,
        };
        let value = match input.int_in_range(0..=3)? {
            0 => None,
            1 => Some(input.bytes(4)?.to_vec()),
            _ => Some(input.choose(&VALUES)?.as_bytes().to_vec()),
        };
        let at = input.choose_index(headers.len() + 1)?;
        headers.insert(at, (name, value));
    }
    let read = |headers: &[(Vec<u8>, Option<Vec<u8>>)]| {
        Letter::read(headers.iter().map(|(name, value)| (name.as_slice(), value.as_deref())))
    };
    let Some((letter, own)) = read(&headers) else { return Ok(()) };
    assert!(own < headers.len() && !(letter.sealed && letter.complete));
    let (again, none) = read(&headers[own..]).expect("the evidence alone is a letter");
    assert_eq!((&again, none), (&letter, 0), "a record's own headers were taken for evidence");
    let shown = serde_json::to_string(&letter).expect("a letter is JSON");
    assert_eq!(serde_json::from_str::<Letter>(&shown).expect("it is read again"), letter);
    Ok(())
}

fn header(name: &str, value: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    (format!("{HEADER_PREFIX}{name}").into_bytes(), Some(value.as_bytes().to_vec()))
}

fn changed_does_not_open(input: &mut Unstructured<'_>) -> Result<()> {
    let (key, value) = (input.bytes(3)?, input.bytes(5)?);
    let mut sealed = KEYS.seal_letter(place(), Some(key), Some(value), []).expect("random bytes");
    let at = input.choose_index(sealed.len())?;
    match input.int_in_range(1..=u8::MAX)? {
        u8::MAX => sealed.truncate(at),
        254 => sealed.insert(at, input.arbitrary()?),
        bits => sealed[at] ^= bits,
    }
    let mut batch = RecordBatch::default();
    let opened = KEYS.open_letter(place(), &sealed, (7, 9), &mut batch);
    assert!(opened.is_err() && batch.is_empty(), "a letter that was changed opened");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_seals_as_the_vault_does() {
        let mut packed = Vec::new();
        [Some(&b"key"[..]), None, Some(b"name"), Some(b"")].into_iter().for_each(|cell| pack(&mut packed, cell));
        assert!(opens_as_it_was_sealed(&packed), "no letter of this target ever opens, so it tests nothing");
        packed.pop();
        assert!(!opens_as_it_was_sealed(&packed));
    }
}
