//! The seeds of the target `module`, which are no text: how they are made, and what each is there for.
//!
//! `BULKHEAD_BLESS=1` writes them anew.

use bulkhead_core::code::Code;
use bulkhead_engine::{CompileLimits, check_module};
use std::fs;
use wasm_encoder::{
    CodeSection, Component, ComponentExportKind, ComponentExportSection, ComponentImportSection,
    ComponentInstanceSection, ComponentTypeRef, ComponentTypeSection, ConstExpr, DataSection, ElementSection, Elements,
    Function, FunctionSection, InstanceType, Instruction, MemorySection, MemoryType, Module, ModuleSection,
    NestedComponentSection, RefType, TableSection, TableType, TypeSection, ValType,
};

/// A component with the right export's name and nothing in it.
fn hollow(mut component: Component) -> Vec<u8> {
    let mut instances = ComponentInstanceSection::new();
    instances.export_items(Vec::<(&str, ComponentExportKind, u32)>::new());
    component.section(&instances);
    let mut exports = ComponentExportSection::new();
    exports.export("bulkhead:stage/processor@0.1.0", ComponentExportKind::Instance, 0, None);
    component.section(&exports);
    component.finish()
}

fn importing(names: &[&str]) -> Component {
    let mut component = Component::new();
    let mut types = ComponentTypeSection::new();
    types.instance(&InstanceType::new());
    component.section(&types);
    let mut imports = ComponentImportSection::new();
    for name in names {
        imports.import(*name, ComponentTypeRef::Instance(0));
    }
    component.section(&imports);
    component
}

/// A core module with some of everything that can be out of bounds.
fn busy() -> Module {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32, ValType::I64], [ValType::I32]);
    let (mut functions, mut tables, mut memories) = (FunctionSection::new(), TableSection::new(), MemorySection::new());
    functions.function(0);
    let table =
        TableType { element_type: RefType::FUNCREF, minimum: 2, maximum: Some(9), table64: false, shared: false };
    tables.table(table);
    memories.memory(MemoryType { minimum: 1, maximum: Some(3), memory64: false, shared: false, page_size_log2: None });
    let mut elements = ElementSection::new();
    elements.active(None, &ConstExpr::i32_const(0), Elements::Functions([0].as_slice().into()));
    let mut code = CodeSection::new();
    let mut function = Function::new([(3, ValType::F64), (2, ValType::V128)]);
    for instruction in [
        Instruction::Block(wasm_encoder::BlockType::Empty),
        Instruction::LocalGet(0),
        Instruction::BrTable([0, 0, 0].as_slice().into(), 0),
        Instruction::End,
        Instruction::LocalGet(0),
        Instruction::MemoryGrow(0),
        Instruction::End,
    ] {
        function.instruction(&instruction);
    }
    code.function(&function);
    let mut data = DataSection::new();
    data.active(0, &ConstExpr::i32_const(8), *b"bytes");
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&tables).section(&memories);
    module.section(&elements).section(&code).section(&data);
    module
}

fn nested(deep: usize) -> Component {
    let mut component = Component::new();
    component.section(&ModuleSection(&busy()));
    if deep > 0 {
        component.section(&NestedComponentSection(&nested(deep - 1)));
    }
    component
}

/// Each seed, and what the child says of it.
fn all() -> Vec<(&'static str, Vec<u8>, Option<Code>)> {
    let granted = ["wasi:clocks/monotonic-clock@0.2.3", "bulkhead:stage/host@0.1.0"];
    vec![
        ("core", busy().finish(), Some(Code::CoreModule)),
        ("deep", hollow(nested(100)), Some(Code::CompileLimit)),
        ("empty", Component::new().finish(), Some(Code::WrongWorld)),
        ("granted", hollow(importing(&granted)), None),
        ("hollow", hollow(Component::new()), None),
        ("nested", hollow(nested(3)), None),
        ("refused", hollow(importing(&["wasi:sockets/tcp@0.2.0", "acme:a/b"])), Some(Code::ImportNotGranted)),
        ("text", b"(component)".to_vec(), Some(Code::NotWasm)),
    ]
}

#[test]
fn the_seeds_of_modules_are_what_they_are_there_for() {
    for (name, bytes, code) in all() {
        let file = super::folder("seeds/module").join(name);
        if std::env::var_os("BULKHEAD_BLESS").is_some() {
            fs::write(&file, &bytes).unwrap();
        }
        assert!(fs::read(&file).is_ok_and(|there| there == bytes), "{name}: BULKHEAD_BLESS=1 writes it anew");
        let said = check_module(&bytes, &CompileLimits::default());
        assert_eq!(said.as_ref().err().map(|refusal| refusal.code), code, "{name}: {said:?}");
    }
}
