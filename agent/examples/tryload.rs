use aya::{EbpfLoader, Btf, programs::Program};
fn main() {
    let obj = std::fs::read("target/ebpf/bpfel-unknown-none/release/inferscope-ebpf").unwrap();
    let btf = Btf::from_sys_fs().unwrap();
    let mut l = EbpfLoader::new();
    l.btf(Some(&btf)).allow_unsupported_maps();
    for a in std::env::args().skip(1) { let (k,v)=a.split_once('=').unwrap(); let k: &'static str = Box::leak(k.to_string().into_boxed_str()); let v: &'static u32 = Box::leak(Box::new(v.parse().unwrap())); l.override_global(k, v, true); }
    let mut e = match l.load(&obj) { Ok(e)=>e, Err(e)=>{ println!("{e:?}"); return; } };
    for (n,p) in e.programs_mut() {
        let r = match p { Program::CgroupSkb(p)=>p.load(), Program::BtfTracePoint(p)=>p.load(n,&btf), _=>panic!() };
        match r { Ok(())=>{ let i=match p {Program::CgroupSkb(p)=>p.info(),Program::BtfTracePoint(p)=>p.info(),_=>panic!()}.unwrap(); println!("OK {n} verified_insns={:?} xlated={:?} jited={:?}", i.verified_instruction_count(), i.size_translated(), i.size_jitted()) }, Err(e)=>{ let s=format!("{e:#?}"); let s = s.replace("\\n","\n"); std::fs::write(format!("/tmp/ver_{n}.log"), &s).unwrap(); println!("FAIL {n}: {} bytes log; tail:\n{}", s.len(), &s[s.len().saturating_sub(1500)..]); } }
    }
}
