//! A kernel module that is not loaded is waited for. Initialising NVML would load it.

use inferscope_tests::gpu::pci_gpu;

use super::*;

#[test]
fn a_module_that_is_not_loaded_is_waited_for_and_the_library_is_not_called() -> io::Result<()> {
    let place = Place::new(two())?.with_account()?;
    let [proc, sys] = ["proc", "sys"].map(|name| place.nodes().with_file_name(name));
    let version = proc.join("driver/nvidia/version");
    pci_gpu(&sys.join("bus/pci/devices"))?;
    fs::create_dir_all(version.with_file_name(""))?;
    let mut rig = Rig::at(place, |settings| (settings.proc, settings.sys) = (proc, sys))?;
    rig.wait_driver("not loaded", |state| *state == DriverState::NotLoaded);
    rig.watch(5 * INTERVAL);
    assert!(rig.place.spent().is_err(), "it was called: {:?}", rig.place.spent());

    fs::write(&version, "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15\n")?;
    rig.wait_sample("a sample once it is loaded", |_| true);

    // Somebody unloads it.
    rig.forget();
    fs::remove_file(&version)?;
    rig.send(&Command::Driver(serde_json::json!({"loaded": false})));
    rig.wait_driver("not loaded", |state| *state == DriverState::NotLoaded);
    rig.watch(2 * INTERVAL);
    let calls = rig.place.spent()?.calls;
    rig.watch(5 * INTERVAL);
    assert_eq!(rig.place.spent()?.calls, calls, "it was called again");
    assert_eq!(open_below(&rig.place.nodes()), 0);

    rig.forget();
    fs::write(&version, "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15\n")?;
    rig.wait_sample("a sample once it is loaded again", |_| true);
    assert!(rig.source.stop());
    Ok(())
}
