r"""The whole study of rutile TiO₂ in miniature: tables, figures and an archive in build/study.

    make study                                   sets everything up, and then
    verdi run examples/rutile_study.py           run here and wait; stopped, the same command goes on where it was
    verdi run examples/rutile_study.py --submit  hand it to the daemon, which keeps no files: --collect PK does
    verdi run examples/rutile_study.py --collect PK

For each functional, in NVT and NPT: a self-learning run, molecular dynamics with its models, and a long epoch with the
last one as reference; beside them the control, as many labels of frames from the foundation's dynamics. Without options
the target is a stand-in for VASP that computes no DFT, and `examples/setup_demo.py` has to have been run once. The real
study is

    verdi run examples/rutile_study.py --submit --protocol paper --model mace-mp-0 --python-code python@gpu \
        --vasp-code vasp@cluster --potential-family PBE.54 --structure POSCAR \
        --vasp-options '{"resources": {"num_machines": 1}, "max_wallclock_seconds": 3600}'
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from aiida import orm
from aiida.engine import ProcessBuilder, submit
from ase.io import read

from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.sharing.archive import export_processes
from aiida_slhmc.workflows.launch import commit_without_sync, launch
from aiida_slhmc.workflows.study import StudyWorkChain

# under `verdi run`, __file__ is only the file's name
HERE = Path(sys.argv[0]).resolve().parent
FOLDER = HERE.parent / "build" / "study"
# where the runs of the stand-in start (Å): at constant volume in the cell that the foundation model has at 300 K, which
# is what one knows before the target is; at constant pressure in about that of the first functional, for few labels
CELLS = {"nvt": (9.002, 9.002, 6.04), "npt": (9.36, 9.36, 6.012)}
# at constant volume twice as many atoms: a label of them costs AiiDA as much, and says more of the distances
REPEATED = {"nvt": (1, 1, 2), "npt": (1, 1, 1)}
ANALYSIS = {
    "centre": "Ti",
    "neighbour": "O",
    "coordination_cutoff": 2.4,
    "n_short": 4,
    "n_long": 2,
    "peak_windows": {"Ti-Ti": [3.0, 4.0], "O-O": [2.3, 3.2], "Ti-O": [1.6, 2.2]},
    "replication": [2, 2, 2],
}
# the volume as the paper quotes it; the bonds follow from a = 4.5937 Å, c = 2.9587 Å and x = 0.30478
EXPERIMENT = {
    "volume": 31.15,
    "source": "Hummer et al. (2007), 300 K",
    "short": 1.9486,
    "long": 1.9800,
    "mean": 1.9590,
    "shell_source": "Howard et al. (1991), 298 K",
}


def starts(file: Path | None) -> dict[str, orm.StructureData]:
    """The structure in *file* for both ensembles, or rutile in the stand-in's cells: 96 atoms for NVT, 48 for NPT."""
    atoms = read(file or HERE / "rutile.vasp")
    if file is not None:
        return dict.fromkeys(CELLS, orm.StructureData(ase=atoms))
    structures = {}
    for ensemble, cell in CELLS.items():
        atoms.set_cell(cell, scale_atoms=True)
        structures[ensemble] = orm.StructureData(ase=atoms.repeat(REPEATED[ensemble]))
    return structures


def get_builder(arguments: argparse.Namespace) -> ProcessBuilder:
    """All inputs of the study."""
    models = orm.QueryBuilder().append(MaceModelData, filters={"label": arguments.model}, tag="m")
    model = models.order_by({"m": {"id": "desc"}}).first(flat=True)
    if model is None:
        raise SystemExit(f"there is no model '{arguments.model}': see `aiida-slhmc model list` and `model import`")
    return StudyWorkChain.get_builder_from_protocol(
        structure=starts(arguments.structure),
        model=model,
        python_code=orm.load_code(arguments.python_code),
        functionals=arguments.functionals,
        target="vasp",
        target_options={
            "code": orm.load_code(arguments.vasp_code),
            "potential_family": arguments.potential_family,
            "options": arguments.vasp_options,
        },
        analysis=ANALYSIS,
        experiment=EXPERIMENT,
        protocol=arguments.protocol,
    )


def collect(study: orm.ProcessNode) -> None:
    """Leave the tables and figures in the folder, and the archive from which a referee can rebuild them.

    It has nothing private in it, see docs/how-to/share_a_data_set.md.
    """
    if "files" not in study.outputs:
        raise SystemExit(f"study {study.pk} has no tables: {study.exit_message or study.process_state}")
    # nothing of an earlier study stays among the files of this one
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    study.outputs.files.base.repository.copy_tree(FOLDER)
    archive = FOLDER / "study.aiida"
    left_out = export_processes([study], archive, overwrite=True)
    print((FOLDER / "table1.md").read_text())
    print((FOLDER / "checks.md").read_text())
    print(f"study {study.pk} ended with exit status {study.exit_status} {study.exit_message or ''}")
    for name, count in sorted(left_out.incomplete.items()):
        print(f"{count} calls of {name} cannot be executed again from the archive, because an input was left out")
    print(f"tables, figures and archive: {FOLDER}")
    print(f"a referee rebuilds them with: python examples/rebuild_study.py {archive}")
    if not study.is_finished_ok:
        sys.exit(1)


def was_stopped() -> bool:
    """Whether there are studies, and the last one did not finish well."""
    query = orm.QueryBuilder().append(
        orm.WorkChainNode, filters={"attributes.process_label": "StudyWorkChain"}, tag="s"
    )
    last = query.order_by({"s": {"id": "desc"}}).first(flat=True)
    return last is not None and not last.is_finished_ok


def main() -> None:
    """Command line."""
    commit_without_sync()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functionals", nargs="+", default=["pbe", "r2scan", "hse06"])
    parser.add_argument("--protocol", default="miniature", help="or `paper`, with a real target")
    parser.add_argument("--model", default="foundation", metavar="LABEL", help="the foundation model")
    parser.add_argument("--python-code", default="python@localhost", help="an interpreter with mace-torch")
    parser.add_argument("--vasp-code", default="vasp-standin@localhost")
    parser.add_argument("--potential-family", default="standin-pbe", help="of your POTCARs")
    parser.add_argument("--vasp-options", type=json.loads, default={"withmpi": False}, help="metadata.options, as JSON")
    parser.add_argument("--structure", type=Path, metavar="FILE", help="rutile, 2x2x2 cells as `replication` says")
    parser.add_argument("--submit", action="store_true", help="hand the study to the daemon instead of waiting for it")
    parser.add_argument("--collect", metavar="PK", help="only write the files of this finished study")
    arguments = parser.parse_args()
    if arguments.collect:
        collect(orm.load_node(arguments.collect))
        return
    builder = get_builder(arguments)
    if arguments.submit:
        print(f"submitted study {submit(builder).pk}; its end: verdi run {sys.argv[0]} --collect PK")
        return
    # what an earlier study that was stopped has computed is taken over; otherwise the search would only cost time
    collect(launch(builder, take_over=was_stopped()))


if __name__ == "__main__":
    main()
