//! The stable codes of everything that a person may be told, each with a page.
//!
//! A code never changes its meaning and is never used again. Its page is a section of `pages.md`, printed by
//! `bulkhead explain CODE`; a code without a page fails a test.
//! Must never: be the only thing that a person is shown; a sentence that says what to do goes with it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

const PAGES: &str = include_str!("pages.md");

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $status:literal, $title:literal;)*) => {
        /// A stable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $(#[doc = concat!($id, ": ", $title)] #[serde(rename = $id)] $name,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The code as shown, for instance `BH0101`.
            pub fn id(self) -> &'static str {
                match self { $(Code::$name => $id),* }
            }

            /// The HTTP status of a problem with this code. Codes of the record path, which HTTP only reports, have 200.
            pub fn status(self) -> u16 {
                match self { $(Code::$name => $status),* }
            }

            /// A few words that are the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title),* }
            }
        }
    };
}

codes! {
    TokenMissing = "BH0001", 401, "No bearer token";
    TokenInvalid = "BH0002", 401, "Token not accepted";
    TokenExpired = "BH0003", 401, "Token expired";
    Forbidden = "BH0004", 403, "Not allowed";
    NotFound = "BH0005", 404, "Not found";
    MethodNotAllowed = "BH0006", 405, "Method not allowed";
    BadRequest = "BH0007", 400, "Request not understood";
    RequestTooLarge = "BH0008", 413, "Request too large";
    RequestTimeout = "BH0009", 408, "Request too slow";
    Conflict = "BH0010", 409, "Conflict";
    Unavailable = "BH0011", 503, "Temporarily unavailable";
    Internal = "BH0012", 500, "Internal error";
    PreconditionFailed = "BH0013", 412, "Changed by somebody else";
    KeyReused = "BH0014", 422, "Idempotency key of another request";
    KeyBusy = "BH0015", 409, "Request of this idempotency key under way";
    ProjectParentMissing = "BH0016", 422, "No project to lie in";
    ProjectNotEmpty = "BH0017", 409, "Project not empty";
    ProjectStays = "BH0018", 409, "Project cannot be deleted";
    TooManyRequests = "BH0019", 429, "Too many requests";
    TooManyStrangers = "BH0020", 429, "Too many requests without a token";
    FuelUnusual = "BH0021", 200, "Unusual fuel per record";
    ErrorsUnusual = "BH0022", 200, "Unusually many dead letters";
    LagUnusual = "BH0023", 200, "Unusual lag";
    OutputUnusual = "BH0024", 200, "Unusual output per record";

    RecordTooLarge = "BH0030", 413, "Record too large";
    RecordInvalid = "BH0031", 400, "Record not readable";
    TooManyHeaders = "BH0032", 400, "Too many headers";
    TooManyStreams = "BH0033", 429, "Too many streams";
    ReplayedAlready = "BH0034", 409, "Dead letter replayed already";
    LetterIncomplete = "BH0035", 422, "Dead letter incomplete";

    ProviderAway = "BH0040", 503, "Identity provider away";
    IssuerOff = "BH0041", 409, "No tokens made here";
    TenantsDisagree = "BH0042", 400, "Different tenants named";
    TenantUnnamed = "BH0043", 400, "No tenant named";
    LoginEnded = "BH0044", 401, "Login ended";
    LoginFailed = "BH0045", 401, "Not logged in";
    LoginNotOffered = "BH0046", 400, "No login offered";
    GrantTooStrong = "BH0050", 403, "More than the giver has";
    NoSuchRole = "BH0051", 422, "No such role";
    RoleInUse = "BH0052", 409, "Role in use";
    RoleRefused = "BH0053", 422, "Role not accepted";
    MasterKeyUnusable = "BH0060", 503, "Master key not usable";
    KeyNotOpened = "BH0061", 503, "Tenant's key does not open";
    SealBroken = "BH0062", 500, "Sealed value does not open";
    KeysShredded = "BH0063", 410, "Key shredded";
    SecretInUse = "BH0064", 409, "Secret in use";
    TenantNameReserved = "BH0070", 422, "Name kept from tenants";
    TenantSuspended = "BH0071", 423, "Tenant suspended";
    PlanMissing = "BH0072", 422, "No such plan";
    ErasureUnproven = "BH0073", 400, "Erasure report not proven";
    ErasureNotDone = "BH0074", 504, "Deleted, but not yet shown to be gone";
    ExportBroken = "BH0075", 502, "Export not whole";
    AuditBroken = "BH0080", 409, "Audit not whole";
    CheckpointForged = "BH0081", 409, "Checkpoint not believed";
    LimitReached = "BH0085", 422, "Limit of the tenant reached";
    RateReached = "BH0086", 429, "Rate of the tenant reached";
    StorageFull = "BH0087", 507, "Storage of the tenant full";
    LimitUnknown = "BH0088", 422, "No such limit";
    LimitOutOfRange = "BH0089", 422, "Outside of a limit's range";
    PlanInUse = "BH0090", 409, "Plan in use";

    NotWasm = "BH0101", 422, "Not WebAssembly";
    CoreModule = "BH0102", 422, "A core module, not a component";
    WrongWorld = "BH0103", 422, "A component of another world";
    ImportNotGranted = "BH0104", 422, "Import without a grant";
    ModuleTooLarge = "BH0105", 413, "Module too large";
    UploadTruncated = "BH0106", 400, "Upload ended early";
    CompileLimit = "BH0107", 422, "Compiling took too much";
    ModuleInvalid = "BH0108", 422, "WebAssembly that does not validate";
    DigestMismatch = "BH0109", 422, "Digest does not match";
    ModuleInUse = "BH0110", 409, "Module in use";

    ManifestInvalid = "BH0201", 422, "Manifest not accepted";
    ManifestSyntax = "BH0202", 422, "Manifest not readable";
    UnknownField = "BH0203", 422, "Unknown field";
    Cycle = "BH0204", 422, "Stages form a cycle";
    ModuleMissing = "BH0205", 422, "No such module";
    OutputUndeclared = "BH0206", 422, "Undeclared stage or output";
    TopicMissing = "BH0207", 422, "No such topic";
    LimitExceeded = "BH0208", 422, "Above a limit";
    FieldInvalid = "BH0209", 422, "Field not accepted";
    GrantMissing = "BH0210", 422, "Grant missing";
    TickMissing = "BH0218", 422, "Module does not tick";
    SecretMissing = "BH0220", 422, "No such secret";
    ConfigMissing = "BH0221", 422, "No such config entry";
    ConfigUnmergeable = "BH0222", 422, "Config cannot be merged";

    StageTrapped = "BH0301", 200, "Stage trapped";
    StageOutOfFuel = "BH0302", 200, "Record used up its fuel";
    StageOutOfMemory = "BH0303", 200, "Stage used up its memory";
    StageDeadline = "BH0304", 200, "Batch ran past its deadline";
    StageMalformed = "BH0305", 200, "Stage broke the contract";
    StageOutputTooLarge = "BH0306", 200, "Stage returned too much";
    OutputRefused = "BH0307", 200, "Output not taken by its topic";
    RecordRejected = "BH0308", 200, "Stage rejected the record";
    StageInit = "BH0309", 200, "Stage did not start";
    StateDependent = "BH0310", 200, "Fails only in company";
    PipelineBackoff = "BH0311", 200, "Pipeline fails always and is backing off";
    StateFull = "BH0313", 200, "State full";
    StateLost = "BH0314", 200, "State lost";
    BucketUnavailable = "BH0320", 503, "Bucket away";
    KeyRefused = "BH0321", 422, "Object key not accepted";
    RowRefused = "BH0322", 200, "Row does not fit its columns";
    BucketNotGranted = "BH0323", 200, "Bucket not granted";
    BucketMisused = "BH0324", 200, "Too much asked of a bucket";
    BucketNotHere = "BH0325", 200, "No buckets on this machine";
    ScratchUnavailable = "BH0330", 503, "No room for scratch files";
    SecretUnavailable = "BH0340", 503, "Secret away";
    SecretNotHere = "BH0341", 200, "No such secret on this machine";
    StateKeyAway = "BH0342", 200, "Key of the state away";
    StateBroken = "BH0343", 200, "State does not open";
    LetterSealed = "BH0344", 410, "Dead letter does not open";
    Slowed = "BH0350", 200, "Slowed down by a rate";
    GuestsWait = "BH0351", 200, "Guests wait for room";
    BudgetSpent = "BH0352", 200, "Month's fuel used up";
    BudgetNear = "BH0353", 200, "Month's fuel nearly used up";
    MemoryShort = "BH0354", 200, "Worker short of memory";

    LogUnavailable = "BH0401", 503, "Log away";
    TopicGone = "BH0402", 200, "Topic gone";
    OffsetLost = "BH0403", 200, "Committed position lost";
    Fenced = "BH0404", 200, "Fenced by another worker";
    CommitUnknown = "BH0405", 200, "Commit outcome unknown";
    FolderLocked = "BH0406", 503, "Data folder in use";
    PartitionLeaderless = "BH0407", 200, "Partition without a leader";
    LogCorrupt = "BH0408", 500, "Stored data fails its check";
    LogRefused = "BH0409", 503, "Log refused the credentials or the request";
    LaneStalled = "BH0410", 200, "Lane stalled";

    ControlAway = "BH0501", 503, "Control away";
    ModuleFetch = "BH0502", 200, "Module could not be fetched";
    CacheRejected = "BH0503", 200, "Compiled code failed authentication";
    CompilerFailed = "BH0504", 500, "Compiler could not run";

    ConfigInvalid = "BH0601", 400, "Configuration not accepted";
    ServerAway = "BH0602", 503, "Server not reachable";
    TokenNotStored = "BH0603", 401, "No token for the server";
    CliConfigInvalid = "BH0604", 400, "Command line's settings not accepted";
    LocalFailure = "BH0605", 400, "Failed on this machine";
    AnswerUnreadable = "BH0606", 502, "Answer not understood";
    ProjectNotMade = "BH0607", 400, "Project not made";
    PipelineNotRunning = "BH0608", 504, "Applied, but not seen to run";
    ReplayDiffers = "BH0609", 409, "Replay came to another verdict";
    ServerUntrusted = "BH0614", 502, "Server's certificate not believed";
    ServerNameWrong = "BH0615", 502, "Server's certificate is for another name";
    ServerCertificateExpired = "BH0616", 502, "Server's certificate not valid now";
    TlsMismatch = "BH0617", 502, "Encryption not agreed on";
    DatabaseAway = "BH0620", 503, "Metadata database away";
    DatabaseRole = "BH0621", 503, "Database role may do too much";
    SchemaNewer = "BH0622", 503, "Metadata of a newer version";
    SchemaOlder = "BH0623", 503, "Metadata not prepared";
    PlacementRefused = "BH0624", 422, "Placement not possible here";
    DatabaseBusy = "BH0625", 503, "Metadata changed at the same time";
    DatabaseRefused = "BH0626", 503, "Database refused the login";
    UsageTooLarge = "BH0630", 422, "Usage asked for in too many lines";
    CompilerUnconfined = "BH0650", 200, "Compiler with less of a sandbox";
    CompilerForbidden = "BH0651", 422, "Compiler tried what it may not";
    PositionMoved = "BH0670", 200, "Committed position moved from outside";
}

impl Code {
    /// The page of this code, as Markdown, without its heading.
    pub fn page(self) -> Option<&'static str> {
        let heading = format!("## {} ", self.id());
        let (_, section) = PAGES.split_once(heading.as_str())?;
        let (_, body) = section.split_once('\n')?;
        let end = body.find("\n## ").unwrap_or(body.len());
        Some(body[..end].trim())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for Code {
    type Err = UnknownCode;
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Code::ALL.iter().copied().find(|c| c.id().eq_ignore_ascii_case(text)).ok_or(UnknownCode)
    }
}

/// A text that is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such code; codes look like BH0101")]
pub struct UnknownCode;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_that_says_what_to_do_and_every_page_a_code() {
        for code in Code::ALL {
            let page = code.page().unwrap_or_else(|| panic!("{code} has no page"));
            assert!(page.contains("**What to do.**"), "{code} does not say what to do");
            assert!(
                PAGES.contains(&format!("## {} {}\n", code.id(), code.title())),
                "{code}: heading differs from its title"
            );
        }
        assert_eq!(PAGES.matches("\n## BH").count(), Code::ALL.len());
    }

    #[test]
    fn codes_are_found_in_any_case_and_are_unique() {
        assert_eq!("bh0101".parse(), Ok(Code::NotWasm));
        assert_eq!("BH9999".parse::<Code>(), Err(UnknownCode));
        let ids: std::collections::BTreeSet<_> = Code::ALL.iter().map(|c| c.id()).collect();
        assert_eq!(ids.len(), Code::ALL.len());
    }
}
