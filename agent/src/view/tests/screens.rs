//! What is on the screen.

use proptest::collection::vec;
use proptest::prelude::*;
use unicode_width::UnicodeWidthStr;

use super::*;

fn row(name: &str) -> Row {
    Row {
        name: name.to_owned(),
        requests: 418,
        requests_per_second: Some(41.8),
        in_flight: Some(12),
        failed: Some(0.0123),
        aborted: 2,
        first_token: Some(Spread { p50: 0.182, p99: 0.41 }),
        per_token: Some(Spread { p50: 0.0119, p99: 0.0203 }),
        event_gap: Some(0.031),
        duration: Some(Spread { p50: 3.42, p99: 11.27 }),
        tokens_in: Some(21_400.0),
        tokens_out: Some(9123.0),
        read_delay: Some(0.000_31),
        round_trip: Some(0.000_084),
        retransmits: 3,
        cpu_wait: Some(0.0041),
        throttled: Some(0.125),
        calls: Some(0.000_93),
        blocked: Some(0.0102),
        faults: Some(3.4),
        models: vec!["meta-llama/Llama-3.1-8B-Instruct".to_owned()],
        ..Row::default()
    }
}

fn many() -> Vec<Row> {
    vec![
        row("llama-8b"),
        Row { asks: true, tokens_in: None, tokens_out: None, in_flight: None, per_token: None, ..row("gateway") },
        Row {
            counted_by_events: true,
            requests_per_second: Some(0.25),
            failed: Some(0.0),
            read_delay: Some(0.226),
            models: vec!["mixtral".to_owned(), "llama".to_owned(), "qwen".to_owned()],
            ..row("mixtral.service")
        },
        Row { name: "idle".to_owned(), ..Row::default() },
    ]
}

fn lossy() -> Vec<Row> {
    let loss = |cause: &str, count| Loss { cause: cause.to_owned(), count };
    vec![
        Row { losses: vec![loss("ring_full", 12), loss("series_full", 3)], ..row("a") },
        Row { losses: vec![loss("ring_full", 123_456), loss("of_tomorrow", 1)], killed: 2, ..row("b") },
    ]
}

#[test]
fn nothing_found_yet() {
    insta::assert_snapshot!(render(&[], 80), @"no inference server found yet; watching …");
}

#[test]
fn one_workload() {
    insta::assert_snapshot!(render(&[row("llama-8b")], 200), @"
                         in        ─── TTFT ───  ─ per token ──     gap  ─ tokens/s ─  ─ duration ─   read  ─────── CPU ───────  syscall  blocked      disk     RTT   re-
    workload  req/s  flight   err    p50    p99     p50     p99     p99     in    out    p50    p99    p99  wait p99  throttled      p99      p50  faults/s     p50  sent  aborts  models
    llama-8b   41.8      12  1.2%  182ms  410ms  11.9ms  20.3ms  31.0ms  21.4k  9.12k  3.42s  11.3s  310µs    4.10ms        12%    930µs   10.2ms      3.40  84.0µs     3       2  Llama-3.1-8B-Instruct
    ");
}

#[test]
fn several_workloads() {
    insta::assert_snapshot!(render(&many(), 200), @"
                                in        ─── TTFT ───  ─ per token ──     gap  ─ tokens/s ──  ─ duration ─   read  ─────── CPU ───────  syscall  blocked      disk     RTT   re-
    workload         req/s  flight   err    p50    p99     p50     p99     p99     in     out    p50    p99    p99  wait p99  throttled      p99      p50  faults/s     p50  sent  aborts  models
    llama-8b          41.8      12  1.2%  182ms  410ms  11.9ms  20.3ms  31.0ms  21.4k   9.12k  3.42s  11.3s  310µs    4.10ms        12%    930µs   10.2ms      3.40  84.0µs     3       2  Llama-3.1-8B-Ins…
    → gateway         41.8       –  1.2%  182ms  410ms       –       –  31.0ms      –       –  3.42s  11.3s  310µs    4.10ms        12%    930µs   10.2ms      3.40  84.0µs     3       2  Llama-3.1-8B-Ins…
    mixtral.service   0.25      12    0%  182ms  410ms  11.9ms  20.3ms  31.0ms  21.4k  ~9.12k  3.42s  11.3s  226ms    4.10ms        12%    930µs   10.2ms      3.40  84.0µs     3       2  mixtral +2
    idle                 –       –     –      –      –       –       –       –      –       –      –      –      –         –          –        –        –         –       –     0       0  –
    ~ counted by events, where the server tells no usage
    → requests that the workload makes, not those that it serves
    ");
}

#[test]
fn narrower_screens_have_less() {
    insta::assert_snapshot!(render(&many(), 160), @"
                                in        ─── TTFT ───  ─ per token ──     gap  ─ tokens/s ──  ─ duration ─   read  ─────── CPU ───────  syscall      disk     RTT
    workload         req/s  flight   err    p50    p99     p50     p99     p99     in     out    p50    p99    p99  wait p99  throttled      p99  faults/s     p50
    llama-8b          41.8      12  1.2%  182ms  410ms  11.9ms  20.3ms  31.0ms  21.4k   9.12k  3.42s  11.3s  310µs    4.10ms        12%    930µs      3.40  84.0µs
    → gateway         41.8       –  1.2%  182ms  410ms       –       –  31.0ms      –       –  3.42s  11.3s  310µs    4.10ms        12%    930µs      3.40  84.0µs
    mixtral.service   0.25      12    0%  182ms  410ms  11.9ms  20.3ms  31.0ms  21.4k  ~9.12k  3.42s  11.3s  226ms    4.10ms        12%    930µs      3.40  84.0µs
    idle                 –       –     –      –      –       –       –       –      –       –      –      –      –         –          –        –         –       –
    ~ counted by events, where the server tells no usage
    → requests that the workload makes, not those that it serves
    ");
    insta::assert_snapshot!(render(&many(), 120), @"
                                in        ─── TTFT ───  ─ per token ──  ─ tokens/s ──  duration   read  ─────── CPU ───────
    workload         req/s  flight   err    p50    p99     p50     p99     in     out       p50    p99  wait p99  throttled
    llama-8b          41.8      12  1.2%  182ms  410ms  11.9ms  20.3ms  21.4k   9.12k     3.42s  310µs    4.10ms        12%
    → gateway         41.8       –  1.2%  182ms  410ms       –       –      –       –     3.42s  310µs    4.10ms        12%
    mixtral.service   0.25      12    0%  182ms  410ms  11.9ms  20.3ms  21.4k  ~9.12k     3.42s  226ms    4.10ms        12%
    idle                 –       –     –      –      –       –       –      –       –         –      –         –          –
    ~ counted by events, where the server tells no usage
    → requests that the workload makes, not those that it serves
    ");
    insta::assert_snapshot!(render(&many(), 80), @"
                                in        ─── TTFT ───  per token  tokens/s
    workload         req/s  flight   err    p50    p99        p50       out
    llama-8b          41.8      12  1.2%  182ms  410ms     11.9ms     9.12k
    → gateway         41.8       –  1.2%  182ms  410ms          –         –
    mixtral.service   0.25      12    0%  182ms  410ms     11.9ms    ~9.12k
    idle                 –       –     –      –      –          –         –
    ~ counted by events, where the server tells no usage
    → requests that the workload makes, not those that it serves
    ");
    insta::assert_snapshot!(render(&many(), 40), @"
                                   TTFT
    workload         req/s   err    p50
    llama-8b          41.8  1.2%  182ms
    → gateway         41.8  1.2%  182ms
    mixtral.service   0.25    0%  182ms
    idle                 –     –      –
    ~ counted by events, where the server
      tells no usage
    → requests that the workload makes, not
      those that it serves
    ");
    insta::assert_snapshot!(render(&many(), 9), @"
    workload
    llama-8b
    → gateway
    mixtral.…
    idle
    ~ counted
      by
      events,
      where
      the
      server
      tells
      no
      usage
    →
      reques…
      that
      the
      worklo…
      makes,
      not
      those
      that it
      serves
    ");
    insta::assert_snapshot!(render(&many(), 0), @"");
}

#[test]
fn losses_stand_below() {
    insta::assert_snapshot!(render(&lossy(), 100), @"
                         in        ─── TTFT ───  ─ per token ──  ─ tokens/s ─  duration   read       CPU
    workload  req/s  flight   err    p50    p99     p50     p99     in    out       p50    p99  wait p99
    a          41.8      12  1.2%  182ms  410ms  11.9ms  20.3ms  21.4k  9.12k     3.42s  310µs    4.10ms
    b          41.8      12  1.2%  182ms  410ms  11.9ms  20.3ms  21.4k  9.12k     3.42s  310µs    4.10ms
    ! killed for want of memory: b 2
    ! lost: of_tomorrow: b 1
    ! lost: ring_full (records that found the ring buffer full): a 12, b 123k
    ! lost: series_full (measurements without a series of their own: raise metrics.series): a 3
    ");
    insta::assert_snapshot!(render(&lossy(), 50), @"
                            TTFT  per token  tokens/s
    workload  req/s   err    p50        p50       out
    a          41.8  1.2%  182ms     11.9ms     9.12k
    b          41.8  1.2%  182ms     11.9ms     9.12k
    ! killed for want of memory: b 2
    ! lost: of_tomorrow: b 1
    ! lost: ring_full (records that found the ring
      buffer full): a 12, b 123k
    ! lost: series_full (measurements without a series
      of their own: raise metrics.series): a 3
    ");
}

#[test]
fn long_names_are_cut() {
    let long = "kubepods-burstable-pod1234.slice/cri-containerd-0123456789abcdef0123456789abcdef.scope";
    let model = "/models/organisation/a-model-with-a-name-that-goes-on-and-on-Q4_K_M.gguf";
    let rows = [Row { models: vec![model.to_owned(), "b".to_owned()], ..row(long) }, row("模型服务-生产环境-第一")];
    insta::assert_snapshot!(render(&rows, 220), @"
                                                         in        ─── TTFT ───  ─ per token ──     gap  ─ tokens/s ─  ─ duration ─   read  ─────── CPU ───────  syscall  blocked      disk     RTT   re-
    workload                                  req/s  flight   err    p50    p99     p50     p99     p99     in    out    p50    p99    p99  wait p99  throttled      p99      p50  faults/s     p50  sent  aborts  models
    kubepods-burstable-pod1234.slice/cri-co…   41.8      12  1.2%  182ms  410ms  11.9ms  20.3ms  31.0ms  21.4k  9.12k  3.42s  11.3s  310µs    4.10ms        12%    930µs   10.2ms      3.40  84.0µs     3       2  a-model-with…
    模型服务-生产环境-第一                     41.8      12  1.2%  182ms  410ms  11.9ms  20.3ms  31.0ms  21.4k  9.12k  3.42s  11.3s  310µs    4.10ms        12%    930µs   10.2ms      3.40  84.0µs     3       2  Llama-3.1-8B…
    ");
    insta::assert_snapshot!(render(&rows, 100), @"
                                                         in        ─── TTFT ───  per token  tokens/s
    workload                                  req/s  flight   err    p50    p99        p50       out
    kubepods-burstable-pod1234.slice/cri-co…   41.8      12  1.2%  182ms  410ms     11.9ms     9.12k
    模型服务-生产环境-第一                     41.8      12  1.2%  182ms  410ms     11.9ms     9.12k
    ");
}

#[test]
fn hostile_names_do_nothing() {
    let names =
        ["\x1b]0;owned\x07\x1b[2J", "a\nb\r\tc", "\u{202e}txt.exe\u{202c}", "z\u{0335}\u{0336}a\u{200d}\u{fe0f}", ""];
    let rows = names.map(|name| Row {
        models: vec![name.to_owned()],
        losses: vec![Loss { cause: name.to_owned(), count: 1 }],
        ..row(name)
    });
    let shown = render(&rows, 160);
    assert!(
        shown.chars().all(|c| c == '\n' || unicode_width::UnicodeWidthChar::width(c).is_some_and(|width| width > 0))
    );
    insta::assert_snapshot!(shown, @"
                               in        ─── TTFT ───  ─ per token ──     gap  ─ tokens/s ─  ─ duration ─   read  ─────── CPU ───────  syscall      disk     RTT
    workload        req/s  flight   err    p50    p99     p50     p99     p99     in    out    p50    p99    p99  wait p99  throttled      p99  faults/s     p50
    �]0;owned��[2J   41.8      12  1.2%  182ms  410ms  11.9ms  20.3ms  31.0ms  21.4k  9.12k  3.42s  11.3s  310µs    4.10ms        12%    930µs      3.40  84.0µs
    a�b��c           41.8      12  1.2%  182ms  410ms  11.9ms  20.3ms  31.0ms  21.4k  9.12k  3.42s  11.3s  310µs    4.10ms        12%    930µs      3.40  84.0µs
    �txt.exe�        41.8      12  1.2%  182ms  410ms  11.9ms  20.3ms  31.0ms  21.4k  9.12k  3.42s  11.3s  310µs    4.10ms        12%    930µs      3.40  84.0µs
    z��a��           41.8      12  1.2%  182ms  410ms  11.9ms  20.3ms  31.0ms  21.4k  9.12k  3.42s  11.3s  310µs    4.10ms        12%    930µs      3.40  84.0µs
    –                41.8      12  1.2%  182ms  410ms  11.9ms  20.3ms  31.0ms  21.4k  9.12k  3.42s  11.3s  310µs    4.10ms        12%    930µs      3.40  84.0µs
    ! lost: :  1
    ! lost: �]0;owned��[2J: �]0;owned��[2J 1
    ! lost: a�b��c: a�b��c 1
    ! lost: z��a��: z��a�� 1
    ! lost: �txt.exe�: �txt.exe� 1
    ");
}

#[test]
fn columns_of_gpus_are_there_where_a_workload_has_one() {
    let with = Row { gpu: Some(0.75), watts: Some(412.4), joules_per_token: Some(0.3491), ..row("vllm") };
    insta::assert_snapshot!(render(&[with, row("proxy")], 180), @"
                         in        ─── TTFT ───  ─ per token ──     gap  ─ tokens/s ─  ────── GPU ───────  ─ duration ─   read  ─────── CPU ───────  syscall      disk     RTT
    workload  req/s  flight   err    p50    p99     p50     p99     p99     in    out  used    W  J/token    p50    p99    p99  wait p99  throttled      p99  faults/s     p50
    vllm       41.8      12  1.2%  182ms  410ms  11.9ms  20.3ms  31.0ms  21.4k  9.12k   75%  412     0.35  3.42s  11.3s  310µs    4.10ms        12%    930µs      3.40  84.0µs
    proxy      41.8      12  1.2%  182ms  410ms  11.9ms  20.3ms  31.0ms  21.4k  9.12k     –    –        –  3.42s  11.3s  310µs    4.10ms        12%    930µs      3.40  84.0µs
    ");
}

/// Two servers of one cgroup are told apart by their ports alone.
#[test]
fn names_come_before_figures_that_are_less_needed() {
    let cgroup = "machine.slice/inference-llama-8b";
    let rows = [8000, 8001].map(|port| row(&format!("{cgroup}:{port}")));
    insta::assert_snapshot!(render(&rows, 160));
    for width in 12..260 {
        let shown = render(&rows, width);
        assert!(shown.contains(":8000 ") && shown.contains(":8001 ") || width < 20, "{width}\n{shown}");
        assert!(shown.contains("…:8001\n") || width >= 20 || shown.contains(":8001 "), "{width}\n{shown}");
    }
}

/// The lines of names above the columns.
fn heads(table: &str) -> Vec<String> {
    table.lines().nth(1).unwrap().split_whitespace().map(str::to_owned).collect()
}

#[test]
fn columns_of_plain_tables_stay() {
    let mut plain = Plain::new(160);
    let idle = Row { name: "vllm".to_owned(), ..Row::default() };
    assert_eq!(plain.render(&[]), "no inference server found yet; watching …\n");
    let first = plain.render(std::slice::from_ref(&idle));
    let long = [row("machine.slice/inference-llama-8b-of-a-very-long-name:8000"), idle.clone()];
    let busy = plain.render(&long);
    insta::assert_snapshot!([first.clone(), busy.clone()].join("\n"));
    assert_eq!(heads(&first), heads(&busy));
    assert!(busy.contains("…:8000 "), "{busy}");
    // The first GPU adds its columns; when it is gone, they stay.
    let with_gpu = plain.render(&[Row { watts: Some(412.4), ..row("vllm") }]);
    let mut added = heads(&with_gpu);
    added.retain(|head| !["used", "W", "J/token"].contains(&head.as_str()));
    assert_eq!(added, heads(&first));
    assert_eq!(heads(&plain.render(std::slice::from_ref(&idle))), heads(&with_gpu));
    assert_eq!(plain.render(&[]), "no inference server found yet; watching …\n");
}

prop_compose! {
    fn any_row()(
        name: String, asks: bool, requests: u64, rate in proptest::option::of(0.0f64..1e12), in_flight: Option<i64>,
        failed in proptest::option::of(0.0f64..=1.0), aborted: u64, p50 in proptest::option::of(0.0f64..300.0),
        retransmits: u64, models in vec("\\PC{0,60}", 0..3), losses in vec((".{0,20}", 1u64..), 0..3), counted_by_events: bool,
    ) -> Row {
        let spread = p50.map(|p50| Spread { p50, p99: p50 * 1.5 });
        Row {
            name, asks, requests, requests_per_second: rate, in_flight, failed, aborted, first_token: spread, per_token: spread,
            event_gap: p50, duration: spread, tokens_in: rate, tokens_out: rate, counted_by_events, read_delay: p50,
            round_trip: p50, cpu_wait: p50, throttled: failed, calls: p50, blocked: p50, faults: rate, killed: aborted, retransmits, gpu: failed, watts: rate, joules_per_token: p50, models, losses: losses.into_iter().map(|(cause, count)| Loss { cause, count }).collect(),
        }
    }
}

proptest! {
    #[test]
    fn no_line_is_wider_than_the_screen(rows in vec(any_row(), 0..6), width in 0usize..260) {
        for line in render(&rows, width).lines() {
            prop_assert!(line.width() <= width, "{} > {width}: {line}", line.width());
        }
    }

    #[test]
    fn plain_tables_of_a_run_have_the_same_columns(tables in vec(vec(any_row(), 1..4), 2..5), width in 40usize..200) {
        let mut plain = Plain::new(width);
        let without_gpus = |row: Row| Row { gpu: None, watts: None, ..row };
        let heads: Vec<_> = tables.into_iter().map(|rows| {
            heads(&plain.render(&rows.into_iter().map(without_gpus).collect::<Vec<_>>()))
        }).collect();
        prop_assert!(heads.iter().all(|one| *one == heads[0]), "{heads:?}");
    }

    #[test]
    fn a_wide_screen_shows_every_row_and_column(rows in vec(any_row(), 1..6)) {
        let shown = render(&rows, 400);
        let heads = shown.lines().nth(1).unwrap().split_whitespace().count();
        let of_gpus = if rows.iter().any(|row| row.gpu.is_some() || row.watts.is_some()) { 3 } else { 0 };
        prop_assert_eq!(heads, 24 + of_gpus, "{}", shown);
        prop_assert!(shown.lines().count() >= 2 + rows.len());
    }
}
