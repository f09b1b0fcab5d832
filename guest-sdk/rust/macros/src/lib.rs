//! The `#[stage]` attribute of `bulkhead-sdk`.
//!
//! What it promises: the function stays as written and callable; beside it comes a type of the same name that implements
//! `Stage`, and on wasm the component's exports. What cannot become a stage is refused with a sentence, at the right place.
//! Must never: put code on the path of a record that is not in `bulkhead-sdk`, where it can be read and tested.
#![forbid(unsafe_code)]

mod signature;

use proc_macro::TokenStream;
use quote::quote;
use signature::{Options, Signature};
use syn::ItemFn;

/// Makes a function the stage of this crate.
///
/// | attribute | function |
/// |---|---|
/// | `#[stage]` | `fn name(record: Record, out: &mut Outputs) -> StageResult` |
/// | `#[stage(init = setup)]` | `fn name(state: &mut State, record: Record, out: &mut Outputs) -> StageResult` |
/// | `#[stage(init = setup, tick = tick)]` | the same |
///
/// `setup` is `fn(&Config) -> Result<State, E>`, where `E` is an `InitError` or becomes one; it is called once for each
/// instance, before any record. The state is a cache: the host may drop an instance between any two batches, and does so
/// after a panic. What must survive goes into `bulkhead_sdk::state`.
///
/// `tick` is `fn(state: &mut State, at: Tick, out: &mut Outputs) -> StageResult`, or without an `init` `fn(at: Tick, out: &mut Outputs)
/// -> StageResult`. The host calls it about every `tickMs` of the manifest for each partition, so that the stage can act while no record
/// comes. An error stops the stage like a panic: there is no record to reject.
///
/// The function may also return nothing, or a `Result<(), E>` of any error type. A crate has one stage: a component exports
/// one.
///
/// A function of another shape is refused:
///
/// ```compile_fail
/// use bulkhead_sdk::prelude::*;
///
/// #[stage]
/// async fn wait(record: Record<'_>, out: &mut Outputs<'_>) {}
/// ```
///
/// and so is state that nobody builds:
///
/// ```compile_fail
/// use bulkhead_sdk::prelude::*;
///
/// #[stage]
/// fn count(seen: &mut u64, record: Record, out: &mut Outputs) {}
/// ```
#[proc_macro_attribute]
pub fn stage(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand(attribute.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

fn expand(
    attribute: proc_macro2::TokenStream,
    item: proc_macro2::TokenStream,
) -> syn::Result<proc_macro2::TokenStream> {
    let function: ItemFn = syn::parse2(item)?;
    let options = Options::of(attribute)?;
    let signature = Signature::of(&function, options.init.is_some())?;
    let implementation = implementation(&function, &signature, &options);
    let export = export(&function, options.tick.is_some());
    let (name, visibility) = (&function.sig.ident, &function.vis);
    let doc = format!("The stage that [`{name}()`](fn@{name}) is, for tests to name.");
    Ok(quote! {
        #function

        #[doc = #doc]
        #[allow(non_camel_case_types, reason = "a stage's type has the name of its function")]
        #[derive(Debug, Clone, Copy)]
        #visibility enum #name {}

        #implementation
        #export
    })
}

/// `impl Stage`: init, process and tick, each one call.
fn implementation(function: &ItemFn, signature: &Signature, options: &Options) -> proc_macro2::TokenStream {
    let name = &function.sig.ident;
    let state = &signature.state;
    let tick = tick(options);
    let (build, call) = match &options.init {
        Some(init) => (
            quote!(::core::result::Result::map_err(#init(config), ::core::convert::Into::into)),
            quote!(#name(state, record, out)),
        ),
        None => (
            quote!({
                let _ = config;
                ::core::result::Result::Ok(())
            }),
            quote!({
                let _ = state;
                #name(record, out)
            }),
        ),
    };
    quote! {
        impl ::bulkhead_sdk::Stage for #name {
            type State = #state;

            fn init(
                config: &::bulkhead_sdk::Config,
            ) -> ::core::result::Result<Self::State, ::bulkhead_sdk::InitError> {
                #build
            }

            #[inline]
            fn process(
                state: &mut Self::State,
                record: ::bulkhead_sdk::Record<'_>,
                out: &mut ::bulkhead_sdk::Outputs<'_>,
            ) -> ::bulkhead_sdk::StageResult {
                ::bulkhead_sdk::__private::IntoResult::into_result(#call)
            }

            #tick
        }
    }
}

/// The part of `impl Stage` that a stage with a `tick` has.
fn tick(options: &Options) -> proc_macro2::TokenStream {
    let Some(tick) = &options.tick else { return proc_macro2::TokenStream::new() };
    let call = match &options.init {
        Some(_) => quote!(#tick(state, at, out)),
        None => quote!({
            let _ = state;
            #tick(at, out)
        }),
    };
    quote! {
        const TICKS: bool = true;

        fn tick(
            state: &mut Self::State,
            at: ::bulkhead_sdk::Tick,
            out: &mut ::bulkhead_sdk::Outputs<'_>,
        ) -> ::bulkhead_sdk::StageResult {
            ::bulkhead_sdk::__private::IntoResult::into_result(#call)
        }
    }
}

/// The component's exports. A wasm instance has one thread, so the thread-local cell is a plain global there. Only a stage that
/// names a `tick` exports one: the host asks a component what it is by its exports.
fn export(function: &ItemFn, ticks: bool) -> proc_macro2::TokenStream {
    let name = &function.sig.ident;
    let ticker = ticks.then(|| {
        quote! {
            impl sdk::ticker::Guest for Component {
                fn tick(at: sdk::ticker::Moment) -> sdk::ticker::Outputs {
                    INSTANCE.with_borrow_mut(|slot| sdk::component_tick(slot, at))
                }
            }

            sdk::export_ticker!(Component with_types_in ::bulkhead_sdk::__private::bindings::ticking);
        }
    });
    quote! {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use ::bulkhead_sdk::__private as sdk;

            ::std::thread_local! {
                static INSTANCE: ::core::cell::RefCell<::core::option::Option<sdk::Instance<#name>>> =
                    const { ::core::cell::RefCell::new(::core::option::Option::None) };
            }

            struct Component;

            impl sdk::processor::Guest for Component {
                fn init(config: sdk::bindings::bulkhead::stage::types::Config) -> ::core::result::Result<(), ::std::string::String> {
                    INSTANCE.with_borrow_mut(|slot| sdk::component_init(slot, config))
                }

                fn process(batch: sdk::processor::Batch) -> sdk::processor::Outcome {
                    INSTANCE.with_borrow_mut(|slot| sdk::component_process(slot, batch))
                }
            }

            sdk::export_stage!(Component with_types_in ::bulkhead_sdk::__private::bindings);
            #ticker
        };
    }
}
