//! wasmtime's synchronous call, with the contract's types and without the engine: the floor of what a sandbox costs.

use bulkhead_core::columns::RecordBatch;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

wasmtime::component::bindgen!({
    path: "../../guest-sdk/wit",
    world: "stage",
    ownership: Borrowing { duplicate_if_necessary: true },
});

use bulkhead::stage::types as wit;

struct World {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for World {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl bulkhead::stage::host::Host for World {
    fn mark(&mut self, _: u32) {}
    fn log(&mut self, _: bulkhead::stage::host::Level, _: String) {}
}

/// A guest without the engine.
pub(crate) struct Plain {
    store: Store<World>,
    guest: Stage,
}

impl Plain {
    pub(crate) fn new() -> Self {
        let mut config = Config::new();
        config.consume_fuel(true).concurrency_support(false);
        let engine = Engine::new(&config).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).unwrap();
        bulkhead::stage::host::add_to_linker::<World, wasmtime::component::HasSelf<World>>(&mut linker, |world| world)
            .unwrap();
        let component = Component::new(&engine, bulkhead_test_guests::wasm("never_marks")).unwrap();
        let world = World { wasi: WasiCtxBuilder::new().build(), table: ResourceTable::new() };
        let mut store = Store::new(&engine, world);
        store.set_fuel(u64::MAX).unwrap();
        let guest = Stage::instantiate(&mut store, &component, &linker).unwrap();
        let settings = bulkhead_test_guests::settings("never_marks");
        let told =
            wit::Config { pipeline: "bench", stage: "bench", inputs: &["in"], outputs: &["out"], settings: &settings };
        guest.bulkhead_stage_processor().call_init(&mut store, told).unwrap().unwrap();
        Self { store, guest }
    }

    pub(crate) fn process(&mut self, batch: &RecordBatch) -> wit::Outcome {
        fn null(column: &bulkhead_core::columns::NullColumn) -> wit::NullColumnParam<'_> {
            wit::NullColumnParam { data: &column.data, ends: &column.ends, nulls: &column.nulls }
        }
        let names = &batch.headers.names;
        let lowered = wit::Batch {
            topic: batch.topic,
            partition: batch.partition,
            offsets: &batch.offsets,
            timestamps: &batch.timestamps,
            keys: null(&batch.keys),
            values: null(&batch.values),
            headers: wit::HeadersParam {
                record_ends: &batch.headers.record_ends,
                names: wit::BytesColumnParam { data: &names.data, ends: &names.ends },
                values: null(&batch.headers.values),
            },
        };
        self.guest.bulkhead_stage_processor().call_process(&mut self.store, lowered).unwrap()
    }
}
