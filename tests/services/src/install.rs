//! Installs Apache Kafka and Keycloak from Maven Central, the S3 server versitygw from the Go module proxy, and Prometheus from Debian, once.
//!
//! Versions are pinned: of Kafka's newer ones some artifacts are listed but cannot be fetched. Several test binaries may ask at the
//! same time; a file lock lets one install and the others wait.
//! Must never: leave a half-installed folder that looks whole.

use crate::folder::services;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The release of Kafka that tests run against.
pub const KAFKA: &str = "4.3.1";

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka-dist</artifactId><version>1</version><packaging>pom</packaging>
  <properties><kafka.version>VERSION</kafka.version></properties>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${kafka.version}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>${kafka.version}</version>
      <exclusions><exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId></exclusion></exclusions></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.4</version></dependency>
  </dependencies>
</project>
"#;

/// The folder of the jars of this release of Kafka, installed now if they are not.
///
/// # Errors
/// Where `version` is not numbers between dots, Java is missing, or Maven cannot fetch them.
pub fn kafka(version: &str) -> Result<PathBuf> {
    ensure!(
        !version.is_empty() && version.chars().all(|c| c.is_ascii_digit() || c == '.'),
        "`{version}` is no release of Kafka: say for instance {KAFKA}"
    );
    ensure_tool("java", "-version", "a Java runtime, 17 or later (package openjdk-17-jre-headless)")?;
    let root = services();
    fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    let home = root.canonicalize()?.join(format!("kafka-{version}"));
    let lock = File::create(root.join(".install.lock"))?;
    lock.lock().context("cannot lock the folder of services")?;
    if !home.exists() {
        install(&home, version)?;
    }
    Ok(home.join("libs"))
}

const S3_MODULE: &str = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";

/// The S3 server's program, installed now if it is not. Building it takes some minutes.
///
/// # Errors
/// Where Go is missing, or cannot fetch or build it.
pub fn s3() -> Result<PathBuf> {
    let root = services();
    fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    let home = root.canonicalize()?.join("versitygw-1.8.0");
    let program = home.join("versitygw");
    let lock = File::create(root.join(".install.lock"))?;
    lock.lock().context("cannot lock the folder of services")?;
    if program.exists() {
        return Ok(program);
    }
    ensure_tool("go", "version", "Go 1.24 or later, which builds the S3 server")?;
    let partial = home.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial)?;
    let output = Command::new("go")
        .args(["install", S3_MODULE])
        .env("GOBIN", &partial)
        .stdin(Stdio::null())
        .output()
        .context("cannot run go")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "Go could not build {S3_MODULE}: see that this machine reaches the Go module proxy or one named in GOPROXY. Go \
         said:\n{said}"
    );
    fs::rename(&partial, &home).with_context(|| format!("cannot make {}", home.display()))?;
    Ok(program)
}

/// The folder of PostgreSQL's programs, of the newest release that is installed.
///
/// # Errors
/// Where there is none: it is a package of the system, which `cargo xtask setup` installs.
pub fn postgres() -> Result<PathBuf> {
    let releases = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = releases
        .filter_map(|release| Some((release.file_name().to_str()?.parse::<u32>().ok()?, release.path().join("bin"))))
        .filter(|(_, programs)| programs.join("initdb").exists())
        .max();
    let (release, programs) = newest.context("these tests need PostgreSQL 15 or later (package postgresql)")?;
    ensure!(release >= 15, "these tests need PostgreSQL 15 or later; there is {release} (package postgresql)");
    Ok(programs)
}

/// The release of Keycloak that tests run against.
const KEYCLOAK: &str = "26.7.3";

/// The folder of Keycloak, installed and built now if it is not: 180 MB, and half a minute.
///
/// # Errors
/// Where Java is missing, or Maven cannot fetch it.
pub fn keycloak() -> Result<PathBuf> {
    ensure_tool("java", "-version", "a Java runtime, 17 or later (package openjdk-17-jre-headless)")?;
    let root = services();
    fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    let home = root.canonicalize()?.join(format!("keycloak-{KEYCLOAK}"));
    let lock = File::create(root.join(".install.lock"))?;
    lock.lock().context("cannot lock the folder of services")?;
    if home.exists() {
        return Ok(home);
    }
    ensure_tool("mvn", "-version", "Maven, which fetches Keycloak (package maven)")?;
    let partial = home.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial)?;
    let unpack = ["-B", "-ntp", "-q", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack"];
    let artifact = format!("-Dartifact=org.keycloak:keycloak-quarkus-dist:{KEYCLOAK}:zip");
    let mut maven = Command::new("mvn");
    maven.args(unpack).arg(artifact).arg(format!("-DoutputDirectory={}", partial.display())).current_dir(&partial);
    let remedy = "see that this machine reaches Maven Central or a mirror named in ~/.m2/settings.xml";
    run(&mut maven, "Maven could not fetch Keycloak", remedy)?;
    let unpacked = partial.join(format!("keycloak-{KEYCLOAK}"));
    // Once for all starts, each of which would do it otherwise.
    let mut build = Command::new(unpacked.join("bin/kc.sh"));
    build.args(["build", "--db=dev-file"]).env("JAVA_OPTS_APPEND", "-XX:TieredStopAtLevel=1");
    run(&mut build, "Keycloak could not be built", "look at what it said")?;
    fs::rename(&unpacked, &home).with_context(|| format!("cannot make {}", home.display()))?;
    fs::remove_dir_all(&partial)?;
    Ok(home)
}

/// The folder of Prometheus' programs: the system's, or else those of Debian's package, unpacked below the target folder. It is not installed,
/// which would start a server.
///
/// # Errors
/// Where the machine has neither the programs nor Debian's package.
pub fn prometheus() -> Result<PathBuf> {
    let installed = Path::new("/usr/bin");
    if ["prometheus", "promtool"].iter().all(|program| installed.join(program).exists()) {
        return Ok(installed.to_owned());
    }
    let root = services();
    fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    let home = root.canonicalize()?.join("prometheus");
    let lock = File::create(root.join(".install.lock"))?;
    lock.lock().context("cannot lock the folder of services")?;
    if home.exists() {
        return Ok(home.join("usr/bin"));
    }
    let partial = home.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial)?;
    let remedy = "install Prometheus 2.42 or later (Debian package prometheus)";
    // Lists and archives of its own: those of the system may be missing or old, and only root may bring them up to date.
    let (state, cache) = (partial.join("apt/state"), partial.join("apt/cache"));
    fs::create_dir_all(state.join("lists/partial"))?;
    fs::create_dir_all(cache.join("archives/partial"))?;
    let options = [
        ("Dir::State", state.as_path()),
        ("Dir::Cache", &cache),
        ("Dir::State::status", Path::new("/var/lib/dpkg/status")),
    ];
    let options: Vec<String> = options.iter().map(|(name, path)| format!("-o{name}={}", path.display())).collect();
    for words in [&["update"][..], &["download", "prometheus"]] {
        let mut apt_get = Command::new("apt-get");
        apt_get.arg("-q").args(&options).args(words).current_dir(&partial);
        run(&mut apt_get, "Prometheus could not be fetched", remedy)?;
    }
    let packages = fs::read_dir(&partial)?.flatten().map(|entry| entry.path());
    let package = packages.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "deb"));
    let package = package.with_context(|| format!("apt-get fetched nothing: {remedy}"))?;
    run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&partial), "Prometheus could not be unpacked", remedy)?;
    fs::remove_file(&package)?;
    fs::remove_dir_all(partial.join("apt"))?;
    fs::rename(&partial, &home).with_context(|| format!("cannot make {}", home.display()))?;
    Ok(home.join("usr/bin"))
}

fn run(command: &mut Command, what: &str, remedy: &str) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let last: Vec<&str> = said.lines().rev().take(20).collect();
    let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
    ensure!(output.status.success(), "{what}: {remedy}, then run again. It said:\n{last}");
    Ok(())
}

fn install(home: &Path, version: &str) -> Result<()> {
    ensure_tool("mvn", "-version", "Maven, which fetches Kafka (package maven)")?;
    let partial = home.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial)?;
    fs::write(partial.join("pom.xml"), POM.replace("VERSION", version))?;
    let output = Command::new("mvn")
        .args(["-B", "-ntp", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", partial.join("libs").display()))
        .current_dir(&partial)
        .stdin(Stdio::null())
        .output()
        .context("cannot run mvn")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let last: Vec<&str> = said.lines().rev().take(20).collect();
    let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
    ensure!(
        output.status.success() && partial.join(format!("libs/kafka_2.13-{version}.jar")).exists(),
        "Maven could not fetch Kafka {version}: see that this machine reaches Maven Central or a mirror named in \
         ~/.m2/settings.xml, then run again. Maven said:\n{last}"
    );
    fs::rename(&partial, home).with_context(|| format!("cannot make {}", home.display()))
}

fn ensure_tool(program: &str, version: &str, what: &str) -> Result<()> {
    let status =
        Command::new(program).arg(version).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("`{program} {version}` ended with {status}; these tests need {what}"),
        Err(error) => bail!("cannot run `{program}` ({error}); these tests need {what}"),
    }
}
