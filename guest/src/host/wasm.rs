//! The host's functions as WebAssembly imports: the one place with pointers.
#![allow(unsafe_code, reason = "imports are foreign functions, and take addresses")]

mod raw {
    #[link(wasm_import_module = "ig")]
    unsafe extern "C" {
        pub(super) fn gadgetLog(level: u32, message: u64);
        pub(super) safe fn gadgetShouldLog(level: u32) -> u32;
        pub(super) fn newDataSource(name: u64, kind: u32) -> u32;
        pub(super) fn getDataSource(name: u64) -> u32;
        pub(super) safe fn dataSourceSubscribe(source: u32, kind: u32, priority: i32, callback: u64) -> u32;
        pub(super) fn dataSourceGetField(source: u32, name: u64) -> u32;
        pub(super) fn dataSourceAddField(source: u32, name: u64, kind: u32) -> u32;
        pub(super) safe fn dataSourceNewPacketSingle(source: u32) -> u32;
        pub(super) safe fn dataSourceNewPacketArray(source: u32) -> u32;
        pub(super) safe fn dataSourceEmitAndRelease(source: u32, packet: u32) -> u32;
        pub(super) safe fn dataSourceRelease(source: u32, packet: u32) -> u32;
        pub(super) safe fn dataSourceUnreference(source: u32) -> u32;
        pub(super) safe fn dataSourceIsReferenced(source: u32) -> u32;
        pub(super) safe fn dataArrayNew(array: u32) -> u32;
        pub(super) safe fn dataArrayAppend(array: u32, data: u32) -> u32;
        pub(super) safe fn dataArrayRelease(array: u32, data: u32) -> u32;
        pub(super) safe fn dataArrayLen(array: u32) -> u32;
        pub(super) safe fn dataArrayGet(array: u32, index: u32) -> u32;
        pub(super) fn fieldGetScalar(field: u32, data: u32, kind: u32, error: *mut u32) -> u64;
        pub(super) fn fieldGetBuffer(field: u32, data: u32, kind: u32, to: u64) -> i32;
        pub(super) fn fieldSet(field: u32, data: u32, kind: u32, value: u64) -> u32;
        pub(super) fn fieldAddTag(field: u32, tag: u64) -> u32;
        pub(super) fn getParamValue(key: u64, to: u64) -> u32;
        pub(super) fn setConfig(key: u64, value: u64, kind: u32) -> u32;
        pub(super) fn newMap(name: u64, kind: u32, key: u32, value: u32, max: u32) -> u32;
        pub(super) fn getMap(name: u64) -> u32;
        pub(super) fn mapLookup(map: u32, key: u64, to: u64) -> u32;
        pub(super) fn mapUpdate(map: u32, key: u64, value: u64, flags: u64) -> u32;
        pub(super) fn mapDelete(map: u32, key: u64) -> u32;
        pub(super) safe fn mapRelease(map: u32) -> u32;
        pub(super) safe fn releaseHandle(handle: u32) -> u32;
        pub(super) fn getSyscallName(number: u32, to: u64) -> u32;
        pub(super) fn getSyscallID(name: u64) -> i32;
        pub(super) fn getSyscallDeclaration(name: u64, to: u64) -> u32;
        pub(super) safe fn newPerfReader(map: u32, size: u32, overwritable: u32) -> u32;
        pub(super) safe fn perfReaderPause(reader: u32) -> u32;
        pub(super) safe fn perfReaderResume(reader: u32) -> u32;
        pub(super) safe fn perfReaderClose(reader: u32) -> u32;
        pub(super) fn perfReaderRead(reader: u32, to: u64) -> u32;
        pub(super) fn kallsymsSymbolExists(name: u64) -> u32;
        pub(super) safe fn shouldDiscardMntnsID(id: u64) -> u32;
    }
}

/// Address and length in one word; the empty text is 0, as its address may be any.
fn text(bytes: &[u8]) -> u64 {
    if bytes.is_empty() { 0 } else { pack(bytes.as_ptr() as usize, bytes.len()) }
}

fn room(to: &mut [u8]) -> u64 {
    pack(to.as_mut_ptr() as usize, to.len())
}

/// An address has 32 bits here, so nothing is cut off.
fn pack(address: usize, len: usize) -> u64 {
    (len as u64) << 32 | address as u64
}

/// Declares functions that hand borrowed memory to the host and give back what it says.
macro_rules! calls {
    ($($name:ident($($arg:ident: $type:ty),*) $(-> $back:ty)? = $body:expr;)*) => {$(
        pub(crate) fn $name($($arg: $type),*) $(-> $back)? {
            // SAFETY: the host reads or writes within the slices whose address and length it is given, which are
            // borrowed for the whole call, and keeps no address after it.
            unsafe { $body }
        }
    )*};
}

calls! {
    log(level: u32, message: &str) = raw::gadgetLog(level, text(message.as_bytes()));
    new_data_source(name: &str, kind: u32) -> u32 = raw::newDataSource(text(name.as_bytes()), kind);
    get_data_source(name: &str) -> u32 = raw::getDataSource(text(name.as_bytes()));
    get_field(source: u32, name: &str) -> u32 = raw::dataSourceGetField(source, text(name.as_bytes()));
    add_field(source: u32, name: &str, kind: u32) -> u32 =
        raw::dataSourceAddField(source, text(name.as_bytes()), kind);
    get_buffer(field: u32, data: u32, kind: u32, to: &mut [u8]) -> Option<usize> =
        usize::try_from(raw::fieldGetBuffer(field, data, kind, room(to))).ok().filter(|n| *n <= to.len());
    set_scalar(field: u32, data: u32, kind: u32, value: u64) -> bool =
        raw::fieldSet(field, data, kind, value) == 0;
    set_buffer(field: u32, data: u32, kind: u32, value: &[u8]) -> bool =
        raw::fieldSet(field, data, kind, text(value)) == 0;
    add_tag(field: u32, tag: &str) -> bool = raw::fieldAddTag(field, text(tag.as_bytes())) == 0;
    param(key: &str, to: &mut [u8]) -> bool = raw::getParamValue(text(key.as_bytes()), room(to)) == 0;
    set_config(key: &str, value: &str, kind: u32) -> bool =
        raw::setConfig(text(key.as_bytes()), text(value.as_bytes()), kind) == 0;
    new_map(name: &str, kind: u32, key: u32, value: u32, max: u32) -> u32 =
        raw::newMap(text(name.as_bytes()), kind, key, value, max);
    get_map(name: &str) -> u32 = raw::getMap(text(name.as_bytes()));
    map_lookup(map: u32, key: &[u8], to: &mut [u8]) -> bool = raw::mapLookup(map, text(key), room(to)) == 0;
    map_update(map: u32, key: &[u8], value: &[u8], flags: u64) -> bool =
        raw::mapUpdate(map, text(key), text(value), flags) == 0;
    map_delete(map: u32, key: &[u8]) -> bool = raw::mapDelete(map, text(key)) == 0;
    syscall_name(number: u32, to: &mut [u8]) -> bool = raw::getSyscallName(number, room(to)) == 0;
    syscall_id(name: &str) -> i32 = raw::getSyscallID(text(name.as_bytes()));
    syscall_declaration(name: &str, to: &mut [u8]) -> bool =
        raw::getSyscallDeclaration(text(name.as_bytes()), room(to)) == 0;
    perf_read(reader: u32, to: &mut [u8]) -> u32 = raw::perfReaderRead(reader, room(to));
    symbol_exists(name: &str) -> bool = raw::kallsymsSymbolExists(text(name.as_bytes())) != 0;
}

pub(crate) fn get_scalar(field: u32, data: u32, kind: u32) -> Option<u64> {
    let mut failed = 0;
    // SAFETY: the host writes four bytes at the address of `failed`, which outlives the call.
    let value = unsafe { raw::fieldGetScalar(field, data, kind, &raw mut failed) };
    (failed == 0).then_some(value)
}

pub(crate) fn should_log(level: u32) -> bool {
    raw::gadgetShouldLog(level) != 0
}

pub(crate) fn subscribe(source: u32, kind: u32, priority: i32, callback: u64) -> bool {
    raw::dataSourceSubscribe(source, kind, priority, callback) == 0
}

pub(crate) fn new_packet_single(source: u32) -> u32 {
    raw::dataSourceNewPacketSingle(source)
}

pub(crate) fn new_packet_array(source: u32) -> u32 {
    raw::dataSourceNewPacketArray(source)
}

pub(crate) fn emit(source: u32, packet: u32) -> bool {
    raw::dataSourceEmitAndRelease(source, packet) == 0
}

pub(crate) fn release_packet(source: u32, packet: u32) {
    raw::dataSourceRelease(source, packet);
}

pub(crate) fn unreference(source: u32) -> bool {
    raw::dataSourceUnreference(source) == 0
}

pub(crate) fn is_referenced(source: u32) -> u32 {
    raw::dataSourceIsReferenced(source)
}

pub(crate) fn array_new(array: u32) -> u32 {
    raw::dataArrayNew(array)
}

pub(crate) fn array_append(array: u32, data: u32) -> bool {
    raw::dataArrayAppend(array, data) == 0
}

pub(crate) fn array_release(array: u32, data: u32) {
    raw::dataArrayRelease(array, data);
}

pub(crate) fn array_len(array: u32) -> u32 {
    raw::dataArrayLen(array)
}

pub(crate) fn array_get(array: u32, index: u32) -> u32 {
    raw::dataArrayGet(array, index)
}

pub(crate) fn map_release(map: u32) {
    raw::mapRelease(map);
}

pub(crate) fn release(handle: u32) {
    raw::releaseHandle(handle);
}

pub(crate) fn new_perf_reader(map: u32, size: u32, overwritable: bool) -> u32 {
    raw::newPerfReader(map, size, overwritable.into())
}

pub(crate) fn perf_pause(reader: u32) -> bool {
    raw::perfReaderPause(reader) == 0
}

pub(crate) fn perf_resume(reader: u32) -> bool {
    raw::perfReaderResume(reader) == 0
}

pub(crate) fn perf_close(reader: u32) {
    raw::perfReaderClose(reader);
}

pub(crate) fn should_discard_mntns(id: u64) -> bool {
    raw::shouldDiscardMntnsID(id) != 0
}
