//! Stages written as core instructions, for what no Rust compiler would emit: tables that grow, memories of four gigabytes, outcomes that lie
//! outside of the memory.
//!
//! Such a stage puts out nothing. It does what it is made for in a batch of which a value holds `!`, and never says which record it is at.
//! Must never: need a tool that is not a crate.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType,
    HeapType, Instruction, MemArg, MemorySection, MemoryType, Module, RefType, StartSection, TableSection, TableType,
    TypeSection, ValType,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The byte of a value at which a raw stage strikes: `!`.
const BAD: i32 = 0x21;
/// Where the result of `init` lies: a zero says that it went well.
const STARTED: i32 = 512;
/// Where the outcome lies: 136 zero bytes are one without rows.
const OUTCOME: i32 = 1_024;
/// From here on the host may write what it passes.
const HEAP: i32 = 8_192;
/// Where a batch has the pointer to its values' bytes, and their number.
const VALUES: (u64, u64) = (48, 52);

/// What a raw stage consists of.
struct Raw<'a> {
    /// Pages of each memory that it declares.
    pages: u64,
    memories: u32,
    /// Whether the memory is one for threads.
    shared: bool,
    /// Entries of its table.
    entries: u64,
    /// Functions that nobody calls.
    idle: u32,
    /// Runs as the core module's start function, before `init`.
    at_start: &'a [Instruction<'a>],
    /// Runs in `process`; [`OUTCOME`] is returned after it.
    at_bad: &'a [Instruction<'a>],
}

impl Default for Raw<'_> {
    fn default() -> Self {
        Self { pages: 32, memories: 1, shared: false, entries: 1, idle: 0, at_start: &[], at_bad: &[] }
    }
}

/// Grows its table, until it may not, and then traps.
pub fn table_growth() -> Vec<u8> {
    let at_bad = [
        Instruction::Loop(BlockType::Empty),
        Instruction::RefNull(HeapType::FUNC),
        Instruction::I32Const(1_000),
        Instruction::TableGrow(0),
        Instruction::I32Const(-1),
        Instruction::I32Eq,
        Instruction::If(BlockType::Empty),
        Instruction::Unreachable,
        Instruction::End,
        Instruction::Br(0),
        Instruction::End,
    ];
    stage(&Raw { at_bad: &at_bad, ..Raw::default() })
}

/// Loops without having said at which record.
pub fn nameless_spin() -> Vec<u8> {
    let at_bad = [Instruction::Loop(BlockType::Empty), Instruction::Br(0), Instruction::End];
    stage(&Raw { at_bad: &at_bad, ..Raw::default() })
}

/// Fills 31 MiB with one instruction, again and again.
pub fn bulk_fill() -> Vec<u8> {
    let at_bad = [
        Instruction::Loop(BlockType::Empty),
        Instruction::I32Const(HEAP),
        Instruction::I32Const(1),
        Instruction::I32Const(31 << 20),
        Instruction::MemoryFill(0),
        Instruction::Br(0),
        Instruction::End,
    ];
    stage(&Raw { pages: 512, at_bad: &at_bad, ..Raw::default() })
}

/// Declares a memory of four gigabytes.
pub fn declares_4_gib() -> Vec<u8> {
    stage(&Raw { pages: 65_536, ..Raw::default() })
}

/// Declares a hundred memories.
pub fn declares_memories() -> Vec<u8> {
    stage(&Raw { memories: 100, pages: 1, ..Raw::default() })
}

/// Declares a memory that threads could share, which makes a fine clock.
pub fn declares_shared_memory() -> Vec<u8> {
    stage(&Raw { shared: true, ..Raw::default() })
}

/// Declares a table of ten million entries.
pub fn declares_table() -> Vec<u8> {
    stage(&Raw { entries: 10_000_000, ..Raw::default() })
}

/// Has a hundred thousand functions, and behaves.
pub fn functions_100k() -> Vec<u8> {
    stage(&Raw { idle: 100_000, ..Raw::default() })
}

/// Loops where its core module starts, before anything of the contract is called.
pub fn start_spins() -> Vec<u8> {
    let at_start = [Instruction::Loop(BlockType::Empty), Instruction::Br(0), Instruction::End];
    stage(&Raw { at_start: &at_start, ..Raw::default() })
}

/// Says that its outcome is where its memory has ended.
pub fn wild_outcome() -> Vec<u8> {
    stage(&Raw { at_bad: &[Instruction::I32Const(-256), Instruction::Return], ..Raw::default() })
}

/// Returns a column that runs beyond its memory.
pub fn wild_column() -> Vec<u8> {
    stage(&Raw { at_bad: &[store(0, 0x7fff_0000), store(4, 0x3fff_ffff)].concat(), ..Raw::default() })
}

/// Returns columns that all lie on the same 30 MiB: far more than it has in its memory, if they were added up.
pub fn columns_on_top_of_each_other() -> Vec<u8> {
    // source, to and inherit; then data, ends and nulls of keys and of values; then the headers', and the timestamps.
    let fields: [(i32, i32); 15] = [
        (0, 4),
        (8, 2),
        (16, 1),
        (24, 1),
        (32, 4),
        (40, 1),
        (48, 1),
        (56, 4),
        (64, 1),
        (72, 4),
        (80, 1),
        (88, 4),
        (96, 1),
        (104, 4),
        (120, 8),
    ];
    let stores = fields.map(|(at, width)| [store(at, HEAP), store(at + 4, (30 << 20) / width)].concat()).concat();
    stage(&Raw { pages: 512, at_bad: &stores, ..Raw::default() })
}

/// Writes a number into the outcome.
fn store(at: i32, value: i32) -> Vec<Instruction<'static>> {
    vec![Instruction::I32Const(OUTCOME + at), Instruction::I32Const(value), Instruction::I32Store(word(0))]
}

fn word(offset: u64) -> MemArg {
    MemArg { offset, align: 2, memory_index: 0 }
}

/// The component of the world `stage` around such a core module.
fn stage(raw: &Raw<'_>) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let wit = include_str!("../../../guest-sdk/wit/stage.wit");
    let package = resolve.push_str("stage.wit", wit).expect("the contract");
    let world = resolve.select_world(&[package], Some("stage")).expect("its world");
    let mut core = module(raw).finish();
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).expect("a module");
    // What is invalid on purpose is for the host to find.
    let mut encoder = ComponentEncoder::default();
    encoder.validate(false).module(&core).expect("a module of that world").encode().expect("a component")
}

fn module(raw: &Raw<'_>) -> Module {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32; 10], [ValType::I32]);
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0).function(1).function(2).function(3);
    for _ in 0..raw.idle {
        functions.function(3);
    }
    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        minimum: raw.entries,
        maximum: None,
        table64: false,
        shared: false,
    });
    let mut memories = MemorySection::new();
    for _ in 0..raw.memories {
        let maximum = raw.shared.then_some(raw.pages);
        memories.memory(MemoryType {
            minimum: raw.pages,
            maximum,
            memory64: false,
            shared: raw.shared,
            page_size_log2: None,
        });
    }
    let mut globals = GlobalSection::new();
    globals.global(GlobalType { val_type: ValType::I32, mutable: true, shared: false }, &ConstExpr::i32_const(HEAP));
    let mut exports = ExportSection::new();
    exports.export("bulkhead:stage/processor@0.1.0#init", ExportKind::Func, 0);
    exports.export("bulkhead:stage/processor@0.1.0#process", ExportKind::Func, 1);
    exports.export("cabi_realloc", ExportKind::Func, 2);
    exports.export("memory", ExportKind::Memory, 0);
    let mut code = CodeSection::new();
    code.function(&body([], &[Instruction::I32Const(STARTED)]));
    code.function(&process(raw.at_bad)).function(&allocate()).function(&body([], raw.at_start));
    for _ in 0..raw.idle {
        code.function(&body([], &[Instruction::I32Const(1), Instruction::Drop]));
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&tables).section(&memories).section(&globals).section(&exports);
    if !raw.at_start.is_empty() {
        module.section(&StartSection { function_index: 3 });
    }
    module.section(&code);
    module
}

fn body(
    locals: impl IntoIterator<Item = (u32, ValType), IntoIter: ExactSizeIterator>,
    instructions: &[Instruction<'_>],
) -> Function {
    let mut function = Function::new(locals);
    for instruction in instructions {
        function.instruction(instruction);
    }
    function.instruction(&Instruction::End);
    function
}

/// Looks through the values' bytes, and strikes at the first bad one.
fn process(at_bad: &[Instruction<'_>]) -> Function {
    let (at, left) = (1, 2);
    let byte = MemArg { offset: 0, align: 0, memory_index: 0 };
    let look = [
        Instruction::LocalGet(0),
        Instruction::I32Load(word(VALUES.0)),
        Instruction::LocalSet(at),
        Instruction::LocalGet(0),
        Instruction::I32Load(word(VALUES.1)),
        Instruction::LocalSet(left),
        Instruction::Block(BlockType::Empty),
        Instruction::Loop(BlockType::Empty),
        Instruction::LocalGet(left),
        Instruction::I32Eqz,
        Instruction::BrIf(1),
        Instruction::LocalGet(at),
        Instruction::I32Load8U(byte),
        Instruction::I32Const(BAD),
        Instruction::I32Eq,
        Instruction::If(BlockType::Empty),
    ];
    let go_on = [
        Instruction::Br(2),
        Instruction::End,
        Instruction::LocalGet(at),
        Instruction::I32Const(1),
        Instruction::I32Add,
        Instruction::LocalSet(at),
        Instruction::LocalGet(left),
        Instruction::I32Const(1),
        Instruction::I32Sub,
        Instruction::LocalSet(left),
        Instruction::Br(0),
        Instruction::End,
        Instruction::End,
        Instruction::I32Const(OUTCOME),
    ];
    body([(2, ValType::I32)], &[&look, at_bad, &go_on].concat())
}

/// Gives memory and takes none back: `cabi_realloc`, aligned to 16 bytes.
fn allocate() -> Function {
    let new_bytes = 3;
    let instructions = [
        Instruction::GlobalGet(0),
        Instruction::GlobalGet(0),
        Instruction::LocalGet(new_bytes),
        Instruction::I32Add,
        Instruction::I32Const(15),
        Instruction::I32Add,
        Instruction::I32Const(-16),
        Instruction::I32And,
        Instruction::GlobalSet(0),
    ];
    body([], &instructions)
}
