//! Components that are no stages and never were meant to be: what they cost is for whoever looks at them.
//!
//! Each has the export's name of a stage, so that it is not refused for lacking that.
//! Must never: be so large that a test could not upload it.

use wasm_encoder::{
    BlockType, CodeSection, Component, ComponentExportKind, ComponentExportSection, ComponentImportSection,
    ComponentInstanceSection, ComponentTypeRef, ComponentTypeSection, ComponentValType, Function, FunctionSection,
    InstanceType, Instruction, Module, ModuleSection, NestedComponentSection, TypeSection, ValType,
};

/// Adds an empty instance under the export's name of a stage, and gives the bytes.
fn named(mut component: Component, instances_before: u32) -> Vec<u8> {
    let mut instances = ComponentInstanceSection::new();
    instances.export_items(Vec::<(&str, ComponentExportKind, u32)>::new());
    component.section(&instances);
    let mut exports = ComponentExportSection::new();
    exports.export("bulkhead:stage/processor@0.1.0", ComponentExportKind::Instance, instances_before, None);
    component.section(&exports);
    component.finish()
}

/// A component around a core module of so many functions with this body, which take and give a number.
pub fn functions(count: u32, body: &Function) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    let (mut declared, mut code) = (FunctionSection::new(), CodeSection::new());
    for _ in 0..count {
        declared.function(0);
        code.function(body);
    }
    let mut module = Module::new();
    module.section(&types).section(&declared).section(&code);
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    named(component, 0)
}

/// A body that does nothing.
pub fn empty() -> Function {
    locals(0)
}

/// A body with so many locals.
pub fn locals(count: u32) -> Function {
    let mut function = Function::new([(count, ValType::I64)]);
    function.instruction(&Instruction::Unreachable).instruction(&Instruction::End);
    function
}

/// A body of so many additions, two bytes each and more.
pub fn long(additions: u32) -> Function {
    let mut function = Function::new([]);
    function.instruction(&Instruction::LocalGet(0));
    for _ in 0..additions {
        function.instruction(&Instruction::LocalGet(0)).instruction(&Instruction::I32Add);
    }
    function.instruction(&Instruction::End);
    function
}

/// A body of blocks within blocks, and a table of jumps out of each: cheap to write, dear to compile.
pub fn jumps(depth: u32) -> Function {
    let mut function = Function::new([(20, ValType::I32)]);
    for _ in 0..depth {
        function.instruction(&Instruction::Block(BlockType::Empty));
    }
    for level in 0..depth {
        let targets: Vec<u32> = (0..depth - level).collect();
        function.instruction(&Instruction::LocalGet(level % 20));
        function.instruction(&Instruction::BrTable(targets.into(), 0));
        function.instruction(&Instruction::End);
        function.instruction(&Instruction::LocalGet(0));
        function.instruction(&Instruction::LocalSet(level % 20));
    }
    function.instruction(&Instruction::LocalGet(0));
    function.instruction(&Instruction::End);
    function
}

/// Some 20 MB that take the code generator minutes.
pub fn bomb() -> Vec<u8> {
    functions(1_000, &jumps(200))
}

/// A type of two of the type before, so often: a few bytes for each level, twice the size.
pub fn types(levels: u32) -> Vec<u8> {
    let mut types = ComponentTypeSection::new();
    types.defined_type().primitive(wasm_encoder::PrimitiveValType::U64);
    for level in 0..levels {
        types.defined_type().tuple([ComponentValType::Type(level), ComponentValType::Type(level)]);
    }
    let mut component = Component::new();
    component.section(&types);
    named(component, 0)
}

/// A component in a component in a component, so deep.
pub fn nested(depth: u32) -> Vec<u8> {
    let mut inner = Component::new();
    for _ in 0..depth {
        let mut outer = Component::new();
        outer.section(&NestedComponentSection(&inner));
        inner = outer;
    }
    named(inner, 0)
}

/// So many imports that nobody has.
pub fn imports(count: u32) -> Vec<u8> {
    let mut types = ComponentTypeSection::new();
    types.instance(&InstanceType::new());
    let mut imports = ComponentImportSection::new();
    for i in 0..count {
        imports.import(format!("acme:secret{i}/read@1.0.0"), ComponentTypeRef::Instance(0));
    }
    let mut component = Component::new();
    component.section(&types).section(&imports);
    named(component, count)
}
