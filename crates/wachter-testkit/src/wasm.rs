//! Modules in WebAssembly, made from text, so that tests need no compiler for another machine.

use std::fmt::Write as _;

/// Where the texts of a module begin in its memory; below it is room for its own use.
const TEXTS: usize = 1_024;

/// A core module of WASI preview 1, function by function.
#[derive(Debug, Default)]
pub struct Wasm {
    texts: String,
    next: usize,
    functions: String,
}

impl Wasm {
    /// A module that says `lines` and ends.
    #[must_use]
    pub fn saying(lines: &str) -> Vec<u8> {
        let mut wasm = Self::default();
        let body = wasm.print(lines);
        wasm.start(&body).build()
    }

    /// A module whose result has its request as output.
    #[must_use]
    pub fn echo() -> Vec<u8> {
        let mut wasm = Self::default();
        let (before, after) = (wasm.print("{\"result\":{\"output\":"), wasm.print("}}\n"));
        let body = format!(
            "{before}
             (loop $more
               (i32.store (i32.const 0) (i32.const 65536))
               (i32.store (i32.const 4) (i32.const 65536))
               (if (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))
                 (then unreachable))
               (if (i32.load (i32.const 8)) (then
                 (call $print (i32.const 65536) (i32.load (i32.const 8)))
                 (br $more))))
             {after}"
        );
        wasm.start(&body).build()
    }

    /// A module that opens paths of its folders, each to be read or to be made, links followed, and whose
    /// output is the list of what WASI said: 0, or the number of an error.
    #[must_use]
    pub fn opening(attempts: &[(u32, &str, bool)]) -> Vec<u8> {
        let mut wasm = Self::default();
        let mut body = wasm.print("{\"result\":{\"output\":[");
        for (index, (folder, path, make)) in attempts.iter().enumerate() {
            if index > 0 {
                body += &wasm.print(",");
            }
            let at = wasm.text(path);
            let (flags, rights) = if *make { (1, 1 << 6) } else { (0, 1 << 1) };
            let _ = write!(
                body,
                "(call $number (call $path_open (i32.const {folder}) (i32.const 1)
                   (i32.const {at}) (i32.const {}) (i32.const {flags})
                   (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 64)))",
                path.len()
            );
        }
        body += &wasm.print("]}}\n");
        wasm.start(&body).build()
    }

    /// A module that takes memory, a mebibyte at a time, until it is given no more; its output is how
    /// many it got. With `insists` it stops then, in a function `want`.
    #[must_use]
    pub fn greedy(insists: bool) -> Vec<u8> {
        let mut wasm = Self::default();
        let (before, after) = (wasm.print("{\"result\":{\"output\":"), wasm.print("}}\n"));
        let then = if insists { "unreachable" } else { "" };
        let _ = write!(
            wasm.functions,
            "(func $want (param $got i32) (result i32)
               (loop $more
                 (if (i32.ne (memory.grow (i32.const 16)) (i32.const -1)) (then
                   (local.set $got (i32.add (local.get $got) (i32.const 1)))
                   (br $more))))
               {then}
               (local.get $got))"
        );
        wasm.start(&format!("{before} (call $number (call $want (i32.const 0))) {after}")).build()
    }

    /// A module that never ends, in a function `spin` that `main` calls.
    #[must_use]
    pub fn endless() -> Vec<u8> {
        let mut wasm = Self::default();
        wasm.functions += "(func $spin (loop $more (br $more))) (func $main (call $spin))";
        wasm.start("(call $main)").build()
    }

    /// A module that divides by zero, in a function `divide` that `main` calls.
    #[must_use]
    pub fn trapping() -> Vec<u8> {
        let mut wasm = Self::default();
        let begun = wasm.print("{\"log\":{\"level\":\"info\",\"message\":\"begun\"}}\nhalf a line");
        let _ = write!(
            wasm.functions,
            "(func $divide (param $by i32) (result i32) (i32.div_s (i32.const 1) (local.get $by)))
             (func $main (drop (call $divide (i32.const 0))))"
        );
        wasm.start(&format!("{begun} (call $main)")).build()
    }

    /// A module that ends with an exit code.
    #[must_use]
    pub fn exiting(code: u32) -> Vec<u8> {
        Self::default().start(&format!("(call $proc_exit (i32.const {code}))")).build()
    }

    /// A component of WASI 0.2 whose result has its request as output.
    #[must_use]
    pub fn component() -> Vec<u8> {
        assemble(COMPONENT)
    }

    /// A component whose output is what WASI says when it asks for a socket for TCP: 0 for one, or the
    /// number of the error, the first one 1.
    #[must_use]
    pub fn socket() -> Vec<u8> {
        assemble(SOCKET)
    }

    /// A component that exports what no host starts.
    #[must_use]
    pub fn component_without_run() -> Vec<u8> {
        assemble("(component)")
    }

    /// Puts a text into memory, and says where.
    fn text(&mut self, text: &str) -> usize {
        let at = TEXTS + self.next;
        let escaped: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let _ = writeln!(self.texts, "(data (i32.const {at}) \"{escaped}\")");
        self.next += text.len();
        at
    }

    /// An instruction that prints a text.
    fn print(&mut self, text: &str) -> String {
        let at = self.text(text);
        format!("(call $print (i32.const {at}) (i32.const {}))", text.len())
    }

    /// What is run.
    fn start(mut self, body: &str) -> Self {
        let _ = write!(self.functions, "(func $_start (export \"_start\") {body})");
        self
    }

    fn build(self) -> Vec<u8> {
        let Self { texts, functions, .. } = self;
        assemble(&format!("(module {PRELUDE} {texts} {functions})"))
    }
}

fn assemble(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the text of a module for tests is well formed")
}

const PRELUDE: &str = r#"
(import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_open"
  (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
(memory (export "memory") 4)
(func $print (param $at i32) (param $length i32)
  (loop $more
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $length))
    (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
    (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
    (local.set $length (i32.sub (local.get $length) (i32.load (i32.const 8))))
    (br_if $more (local.get $length))))
(func $number (param $number i32)
  (if (i32.ge_u (local.get $number) (i32.const 10))
    (then (call $number (i32.div_u (local.get $number) (i32.const 10)))))
  (i32.store8 (i32.const 32)
    (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
  (call $print (i32.const 32) (i32.const 1)))
"#;

const COMPONENT: &str = r#"
(component
  (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type (sub resource)))))
  (alias export $errors "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $error (type $outer-error))
    (export "error" (type $error (eq $outer-error)))
    (export "input-stream" (type $input (sub resource)))
    (export "output-stream" (type $output (sub resource)))
    (type $failure (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failure)))
    (export "[method]input-stream.blocking-read" (func
      (param "self" (borrow $input)) (param "len" u64)
      (result (result (list u8) (error $stream-error)))))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $output)) (param "contents" (list u8))
      (result (result (error $stream-error)))))))
  (alias export $streams "input-stream" (type $input))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/stdin@0.2.0" (instance $stdin
    (alias outer 1 $input (type $outer-input))
    (export "input-stream" (type $input (eq $outer-input)))
    (export "get-stdin" (func (result (own $input))))))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output (type $outer-output))
    (export "output-stream" (type $output (eq $outer-output)))
    (export "get-stdout" (func (result (own $output))))))
  (core module $heap
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (global.get $next))
      (global.set $next
        (i32.and (i32.add (i32.add (local.get $at) (local.get 3)) (i32.const 7)) (i32.const -8)))
      (local.get $at)))
  (core instance $heap (instantiate $heap))
  (alias core export $heap "memory" (core memory $memory))
  (alias core export $heap "realloc" (core func $realloc))
  (core func $get-stdin (canon lower (func $stdin "get-stdin")))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $read (canon lower (func $streams "[method]input-stream.blocking-read")
    (memory $memory) (realloc $realloc)))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory $memory) (realloc $realloc)))
  (core module $main
    (import "host" "memory" (memory 4))
    (import "host" "get-stdin" (func $get-stdin (result i32)))
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "read" (func $read (param i32 i64 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (data (i32.const 100) "{\22result\22:{\22output\22:")
    (data (i32.const 200) "}}\0a")
    (func (export "run") (result i32)
      (local $in i32) (local $out i32)
      (local.set $in (call $get-stdin))
      (local.set $out (call $get-stdout))
      (call $write (local.get $out) (i32.const 100) (i32.const 20) (i32.const 16))
      (loop $more
        (call $read (local.get $in) (i64.const 4096) (i32.const 32))
        (if (i32.eqz (i32.load8_u (i32.const 32))) (then
          (call $write (local.get $out)
            (i32.load (i32.const 36)) (i32.load (i32.const 40)) (i32.const 16))
          (br $more))))
      (call $write (local.get $out) (i32.const 200) (i32.const 3) (i32.const 16))
      (i32.const 0)))
  (core instance $main (instantiate $main (with "host" (instance
    (export "memory" (memory $memory))
    (export "get-stdin" (func $get-stdin))
    (export "get-stdout" (func $get-stdout))
    (export "read" (func $read))
    (export "write" (func $write))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
"#;

const SOCKET: &str = r#"
(component
  (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type (sub resource)))))
  (alias export $errors "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $error (type $outer-error))
    (export "error" (type $error (eq $outer-error)))
    (export "output-stream" (type $output (sub resource)))
    (type $failure (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failure)))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $output)) (param "contents" (list u8))
      (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output (type $outer-output))
    (export "output-stream" (type $output (eq $outer-output)))
    (export "get-stdout" (func (result (own $output))))))
  (import "wasi:sockets/network@0.2.0" (instance $network
    (type $codes (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory"
      "timeout" "concurrency-conflict" "not-in-progress" "would-block" "invalid-state"
      "new-socket-limit" "address-not-bindable" "address-in-use" "remote-unreachable"
      "connection-refused" "connection-reset" "connection-aborted" "datagram-too-large"
      "name-unresolvable" "temporary-resolver-failure" "permanent-resolver-failure"))
    (export "error-code" (type $error-code (eq $codes)))
    (type $families (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type $family (eq $families)))))
  (alias export $network "error-code" (type $error-code))
  (alias export $network "ip-address-family" (type $family))
  (import "wasi:sockets/tcp@0.2.0" (instance $tcp (export "tcp-socket" (type (sub resource)))))
  (alias export $tcp "tcp-socket" (type $tcp-socket))
  (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create
    (alias outer 1 $error-code (type $outer-code))
    (export "error-code" (type $code (eq $outer-code)))
    (alias outer 1 $family (type $outer-family))
    (export "ip-address-family" (type $family (eq $outer-family)))
    (alias outer 1 $tcp-socket (type $outer-socket))
    (export "tcp-socket" (type $socket (eq $outer-socket)))
    (export "create-tcp-socket" (func
      (param "address-family" $family) (result (result (own $socket) (error $code)))))))
  (core module $heap (memory (export "memory") 1))
  (core instance $heap (instantiate $heap))
  (alias core export $heap "memory" (core memory $memory))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory $memory)))
  (core func $socket (canon lower (func $create "create-tcp-socket") (memory $memory)))
  (core module $main
    (import "host" "memory" (memory 1))
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "socket" (func $socket (param i32 i32)))
    (data (i32.const 100) "{\22result\22:{\22output\22:")
    (data (i32.const 120) "00}}\0a")
    (func (export "run") (result i32)
      (local $said i32)
      (call $socket (i32.const 0) (i32.const 32))
      (if (i32.load8_u (i32.const 32)) (then
        (local.set $said (i32.add (i32.const 1) (i32.load8_u (i32.const 36))))))
      ;; JSON has no leading zeros; a blank is as good.
      (i32.store8 (i32.const 120) (i32.const 32))
      (if (i32.ge_u (local.get $said) (i32.const 10)) (then
        (i32.store8 (i32.const 120)
          (i32.add (i32.const 48) (i32.div_u (local.get $said) (i32.const 10))))))
      (i32.store8 (i32.const 121)
        (i32.add (i32.const 48) (i32.rem_u (local.get $said) (i32.const 10))))
      (call $write (call $get-stdout) (i32.const 100) (i32.const 25) (i32.const 16))
      (i32.const 0)))
  (core instance $main (instantiate $main (with "host" (instance
    (export "memory" (memory $memory))
    (export "get-stdout" (func $get-stdout))
    (export "write" (func $write))
    (export "socket" (func $socket))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
"#;
