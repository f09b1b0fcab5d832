//! What a stage is told once, when an instance of it starts.
//!
//! What it promises: a wrong or missing setting stops the pipeline with a sentence that names it, before any record is read.
//! Must never: change while the instance lives.

use crate::bindings::contract;
use crate::reject::with_sources;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// An output of the stage, looked up once by [`Config::output`] so that no record pays for finding it by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Port(pub(crate) u16);

/// What a stage is told once: its names, its inputs and outputs, and its settings.
#[derive(Clone)]
pub struct Config(contract::Config);

impl Config {
    pub(crate) fn new(config: contract::Config) -> Self {
        Self(config)
    }

    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        &self.0.pipeline
    }

    /// The stage's name in the pipeline.
    pub fn stage(&self) -> &str {
        &self.0.stage
    }

    /// Names of the inputs, in the order of [`Record::input_index`](crate::Record::input_index).
    pub fn inputs(&self) -> &[String] {
        &self.0.inputs
    }

    /// Names of the outputs that the manifest declares for this stage.
    pub fn outputs(&self) -> &[String] {
        &self.0.outputs
    }

    /// The output with this name.
    ///
    /// # Errors
    /// Where the manifest declares no such output for this stage.
    pub fn output(&self, name: &str) -> Result<Port, InitError> {
        find(self.outputs(), name).ok_or_else(|| InitError::new(undeclared(self.outputs(), name)))
    }

    /// The manifest's `config` of this stage as JSON; `null` where it has none.
    pub fn settings_text(&self) -> &str {
        &self.0.settings
    }

    /// The manifest's `config` of this stage. Where it has none, `T` is read from `{}`, so that a type whose fields all
    /// have defaults needs no settings. Put `#[serde(deny_unknown_fields)]` on the type: a typing error in the manifest
    /// is then told instead of passed over.
    ///
    /// ```
    /// use bulkhead_sdk::testing::Case;
    ///
    /// #[derive(serde::Deserialize)]
    /// #[serde(default, deny_unknown_fields, rename_all = "camelCase")]
    /// struct Settings {
    ///     late_minutes: i32,
    /// }
    ///
    /// impl Default for Settings {
    ///     fn default() -> Self {
    ///         Self { late_minutes: 15 }
    ///     }
    /// }
    ///
    /// let config = Case::new().settings(r#"{"lateMinutes": 30}"#).config();
    /// assert_eq!(config.settings::<Settings>().unwrap().late_minutes, 30);
    /// assert_eq!(Case::new().config().settings::<Settings>().unwrap().late_minutes, 15);
    /// ```
    ///
    /// # Errors
    /// Where the settings do not fit `T`.
    #[cfg(feature = "json")]
    pub fn settings<T: serde::de::DeserializeOwned>(&self) -> Result<T, InitError> {
        let text = if self.0.settings == "null" { "{}" } else { &self.0.settings };
        serde_json::from_str(text)
            .map_err(|error| InitError::new(format!("the stage's `config` is not as expected: {error}")))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("pipeline", &self.pipeline())
            .field("stage", &self.stage())
            .field("inputs", &self.inputs())
            .field("outputs", &self.outputs())
            .field("settings", &self.settings_text())
            .finish()
    }
}

/// Why a stage cannot start. The pipeline stops, with this text as its reason.
///
/// `?` makes one from any [`std::error::Error`].
///
/// ```
/// use bulkhead_sdk::{Config, InitError};
///
/// fn setup(config: &Config) -> Result<u32, InitError> {
///     let size: u32 = config.settings_text().parse()?;
///     if size == 0 {
///         return Err(InitError::new("a size of 0 keeps nothing: choose 1 or more"));
///     }
///     Ok(size)
/// }
/// ```
pub struct InitError(Cow<'static, str>);

impl InitError {
    /// An error with this text, which should say what to change in the manifest.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }

    /// The text.
    pub fn reason(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: Error> From<E> for InitError {
    fn from(error: E) -> Self {
        Self::new(with_sources(&error))
    }
}

pub(crate) fn find(outputs: &[String], name: &str) -> Option<Port> {
    let index = outputs.iter().position(|output| output == name)?;
    u16::try_from(index).ok().map(Port)
}

pub(crate) fn undeclared(outputs: &[String], name: &str) -> String {
    format!("the manifest declares no output `{name}` for this stage; it declares: {}", outputs.join(", "))
}
