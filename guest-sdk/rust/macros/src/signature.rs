//! Whether a function has the shape of a stage, and what its state is.
//!
//! Must never: let through what would fail later with an error inside generated code.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::Parser;
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, Path, Type};

const SHAPE: &str = "a stage is `fn name(record: Record, out: &mut Outputs) -> StageResult`, \
    or with `#[stage(init = setup)]` `fn name(state: &mut State, record: Record, out: &mut Outputs) -> StageResult`";

/// What the expansion needs to know of the function.
pub(crate) struct Signature {
    /// The type that `init` builds.
    pub(crate) state: TokenStream,
}

impl Signature {
    pub(crate) fn of(function: &ItemFn, has_init: bool) -> syn::Result<Self> {
        let signature = &function.sig;
        if let Some(token) = &signature.asyncness {
            return Err(Error::new(token.span(), "a stage is not async: it works on records, and waits for nothing"));
        }
        if let Some(parameter) = signature.generics.type_params().next() {
            return Err(Error::new(parameter.span(), "a stage has no type parameters: a component is one type"));
        }
        let arguments: Vec<&Type> = signature.inputs.iter().map(argument).collect::<syn::Result<_>>()?;
        match (arguments.as_slice(), has_init) {
            ([_, _], false) => Ok(Self { state: quote!(()) }),
            ([state, _, _], true) => Ok(Self { state: referent(state)? }),
            ([state, _, _], false) => Err(Error::new(
                state.span(),
                "name the function that builds this state: `#[stage(init = setup)]` \
                 with `fn setup(config: &Config) -> Result<State, InitError>`",
            )),
            ([_, _], true) => Err(Error::new(
                signature.inputs.span(),
                "take the state that `init` builds as the first argument: `state: &mut State`",
            )),
            _ => Err(Error::new(signature.span(), SHAPE)),
        }
    }
}

fn argument(argument: &FnArg) -> syn::Result<&Type> {
    match argument {
        FnArg::Typed(typed) => Ok(&typed.ty),
        FnArg::Receiver(receiver) => {
            Err(Error::new(receiver.span(), format!("a stage is a free function, not a method; {SHAPE}")))
        }
    }
}

/// `State` of `&mut State` or `&State`.
fn referent(state: &Type) -> syn::Result<TokenStream> {
    match state {
        Type::Reference(reference) => {
            let state = &reference.elem;
            Ok(quote!(#state))
        }
        _ => Err(Error::new(state.span(), "take the state by reference: `&mut State`; the next record needs it too")),
    }
}

/// What the attribute names.
#[derive(Default)]
pub(crate) struct Options {
    /// The path in `init = path`.
    pub(crate) init: Option<Path>,
    /// The path in `tick = path`.
    pub(crate) tick: Option<Path>,
}

impl Options {
    pub(crate) fn of(attribute: TokenStream) -> syn::Result<Self> {
        let mut options = Self::default();
        let parser = syn::meta::parser(|meta| {
            let named = match &meta.path {
                path if path.is_ident("init") => &mut options.init,
                path if path.is_ident("tick") => &mut options.tick,
                _ => return Err(meta.error("a stage knows `init = function`, `tick = function` and nothing else")),
            };
            if named.replace(meta.value()?.parse()?).is_some() {
                return Err(meta.error("this is named twice"));
            }
            Ok(())
        });
        parser.parse2(attribute)?;
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    fn refusal(function: &ItemFn, has_init: bool) -> String {
        Signature::of(function, has_init).err().expect("refused").to_string()
    }

    #[test]
    fn the_state_is_what_the_first_argument_refers_to() {
        let function = parse_quote!(
            fn f(state: &mut Table<u8>, record: Record, out: &mut Outputs) {}
        );
        let state = Signature::of(&function, true).unwrap_or_else(|error| panic!("{error}")).state;
        assert_eq!(state.to_string(), quote!(Table<u8>).to_string());
    }

    #[test]
    fn every_wrong_shape_is_told_what_to_do() {
        let cases: [(ItemFn, bool, &str); 6] = [
            (
                parse_quote!(
                    async fn f(record: Record, out: &mut Outputs) {}
                ),
                false,
                "not async",
            ),
            (
                parse_quote!(
                    fn f<T>(record: T, out: &mut Outputs) {}
                ),
                false,
                "no type parameters",
            ),
            (
                parse_quote!(
                    fn f(record: Record) {}
                ),
                false,
                "a stage is `fn name(",
            ),
            (
                parse_quote!(
                    fn f(state: &mut u8, record: Record, out: &mut Outputs) {}
                ),
                false,
                "init = setup",
            ),
            (
                parse_quote!(
                    fn f(record: Record, out: &mut Outputs) {}
                ),
                true,
                "state: &mut State",
            ),
            (
                parse_quote!(
                    fn f(state: u8, record: Record, out: &mut Outputs) {}
                ),
                true,
                "by reference",
            ),
        ];
        for (function, has_init, expected) in cases {
            let refusal = refusal(&function, has_init);
            assert!(refusal.contains(expected), "{refusal} does not say {expected}");
        }
    }

    #[test]
    fn an_unknown_option_is_refused() {
        for wrong in [quote!(inti = setup), quote!(init = a, init = b), quote!(tick), quote!(init = a; tick = b)] {
            assert!(Options::of(wrong.clone()).is_err(), "{wrong}");
        }
        let both = Options::of(quote!(init = a::setup, tick = tick)).unwrap_or_else(|error| panic!("{error}"));
        assert!(both.init.is_some() && both.tick.is_some());
        assert!(Options::of(quote!()).is_ok_and(|options| options.init.is_none() && options.tick.is_none()));
    }
}
