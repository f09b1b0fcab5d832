//! The engines that do the same work: how each is built and how it is run.
//!
//! Must never: give one of them an advantage that its own users would not have.

use crate::command::{cargo, program, root, target};
use crate::wasm;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The name of the stage that does the work in Bulkhead: the crate in tests/peers/stage.
const STAGE: &str = "price_stage.wasm";

/// Something that can do the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// Rust and librdkafka without a sandbox: what the others are compared with.
    Native,
    /// Kafka Streams.
    Streams,
    /// Apache Flink in one process.
    Flink,
    /// This host, with the stage in its sandbox.
    Bulkhead,
}

impl Engine {
    /// All of them, in the order in which they run.
    pub(crate) const ALL: [Engine; 4] = [Engine::Native, Engine::Streams, Engine::Flink, Engine::Bulkhead];

    /// Its name on the command line, in topics and in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Streams => "streams",
            Self::Flink => "flink",
            Self::Bulkhead => "bulkhead",
        }
    }

    /// Builds it and gives the command that runs it; bench.py fills in `{bootstrap}`, `{in}`, `{out}` and `{group}`.
    ///
    /// # Errors
    /// Where it does not build.
    pub(crate) fn build(self, threads: u32) -> Result<Vec<String>> {
        let threads = threads.to_string();
        let arguments = ["{bootstrap}", "{in}", "{out}", "{group}", &threads];
        let command = match self {
            Self::Native => [vec![native()?], owned(&arguments)].concat(),
            Self::Streams => [java("streams", &["-Xmx1g"], "peer.Streams")?, owned(&arguments)].concat(),
            Self::Flink => {
                let open =
                    ["java.util", "java.lang"].map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
                [java("flink", &[&open[0], &open[1], "-Xmx2g"], "peer.Flink")?, owned(&arguments)].concat()
            }
            Self::Bulkhead => bulkhead(&threads)?,
        };
        Ok(command)
    }

    /// The consumer group whose committed offsets say how far it is, where it is not simply `{group}`.
    pub(crate) fn follows(self) -> Option<&'static str> {
        (self == Self::Bulkhead).then_some("_bulkhead.bench.default.{group}")
    }
}

impl FromStr for Engine {
    type Err = anyhow::Error;
    fn from_str(name: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|engine| engine.name() == name) {
            Some(engine) => Ok(engine),
            None => bail!("there is no engine `{name}`; there are native, streams, flink and bulkhead"),
        }
    }
}

fn native() -> Result<String> {
    let folder = target().join("peers/native");
    cargo(["build", "--release", "--locked", "--manifest-path", "tests/peers/native/Cargo.toml", "--target-dir"])
        .arg(&folder)
        .run()?;
    Ok(shown(&folder.join("release/native")))
}

fn java(folder: &str, options: &[&str], main_class: &str) -> Result<Vec<String>> {
    let folder = root().join("tests/peers").join(folder);
    let class_path = folder.join("target/cp.txt");
    program("mvn")
        .folder(&folder)
        .args([
            "-q",
            "-B",
            "-ntp",
            "-Dstyle.color=never",
            "compile",
            "dependency:build-classpath",
            "-Dmdep.outputFile=target/cp.txt",
        ])
        .run()?;
    let jars = fs::read_to_string(&class_path).with_context(|| format!("cannot read {}", class_path.display()))?;
    let class_path = format!("{}:{}", folder.join("target/classes").display(), jars.trim());
    Ok([owned(&["java"]), owned(options), owned(&["-cp", &class_path, main_class])].concat())
}

fn bulkhead(threads: &str) -> Result<Vec<String>> {
    cargo(["build", "--release", "--workspace", "--bin", "bulkhead"]).run()?;
    let stage = stage()?;
    let host = shown(&target().join("release/bulkhead"));
    let topics = ["bench-pipeline", "--bootstrap", "{bootstrap}", "--input", "{in}", "--output", "{out}"];
    // A folder of its own for each run, so that none finds the code that an earlier one compiled.
    let data = shown(&target().join("bench/data-{group}"));
    let rest = ["--pipeline", "{group}", "--threads", threads, "--stage", &stage, "--data-dir", &data];
    Ok([vec![host], owned(&topics), owned(&rest)].concat())
}

fn stage() -> Result<String> {
    let files = wasm::build()?;
    let stage: Option<PathBuf> = files.into_iter().find(|file| file.ends_with(STAGE));
    Ok(shown(&stage.with_context(|| format!("no crate of this workspace gives {STAGE}"))?))
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
