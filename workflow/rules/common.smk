import copy
import hashlib
import json
import os
import sys
import time

import yaml
from snakemake import __version__ as snakemake_version
from snakemake.exceptions import WorkflowError

# `python` is the one that runs Snakemake, whether its environment is activated or not, unless a rule's own is asked for.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))
SOURCE = str(Path(workflow.basedir, "src"))
sys.path.insert(0, SOURCE)

from faceneuro import assets, cohorts
from faceneuro.cohorts.virtual.patients import enrol
from faceneuro.config import (
    check,
    check_subjects,
    cohorts_of,
    collections,
    filled_tasks,
    headline_model,
    other_run,
    placed_cohorts,
    study_clips,
)
from faceneuro.errors import InputError
from faceneuro.handover import hand_on, handed_on
from faceneuro.locks import claim
from faceneuro.models import BRANCHES, ESTIMATORS, IMAGES, KINDS, PARKINSON_FAMILIES
from faceneuro.report.summary import heading_and_lead
from faceneuro.scoring import MODELS as SCORING_MODELS
from faceneuro.scoring.recordings import UNNAMED, recording, recordings
from faceneuro.stamp import code_stamp
from faceneuro.synthesis import ROWS, TRIVIAL
from faceneuro.synthesis.sizes import SIZES
from faceneuro.training import devices
from faceneuro.withheld import in_order, named_files, publishable

# Where the main process leaves for the jobs of a cluster what it listed.
HANDOVER = Path(".snakemake", "faceneuro")
# What the main process tells the job that records the run: the job cannot see it, and as a parameter it would change with
# every call.
CALL = Path(".snakemake", "faceneuro-call.json")
# A recording that is scored is no part of a run, and nobody else's business; nor is what a run is compared with.
NO_PART = {"video": None, "against": None}
DEFAULT = yaml.safe_load(Path(workflow.basedir, "config", "config.yaml").read_text())
# As it was given: laid over the default once more, it is the same configuration.
PUBLISHABLE, WITHHELD = publishable(in_order({**config, **NO_PART}, DEFAULT), Path.cwd())


def prepare():
    """Check the configuration and list every cohort's clips, shard by shard, before any job starts."""
    given = copy.deepcopy(config)
    # A preset removes a cohort, a study or a protocol of the default by setting it to null.
    for part in (config, config.get("meta_analysis")):
        for name in ("cohorts", "studies", "collections"):
            if isinstance(part, dict) and isinstance(part.get(name), dict):
                part[name] = {key: block for key, block in part[name].items() if block is not None}
    for study in (config.get("studies") or {}).values():
        if isinstance(study, dict) and isinstance(study.get("protocols"), dict):
            study["protocols"] = {key: block for key, block in study["protocols"].items() if block is not None}
    schema = Path(workflow.basedir, "workflow", "schemas", "config.schema.yaml")
    check(config, yaml.safe_load(schema.read_text()))
    config["cohorts"] = placed_cohorts(config)
    if not workflow.is_main_process and (found := handed_on(HANDOVER, given)):
        return found
    listings, shards = {}, {}
    for cohort, settings in config["cohorts"].items():
        listings[cohort] = cohorts.listing(cohort, settings)
        shards[cohort] = cohorts.shards(cohort, listings[cohort].clips, settings["subjects_per_shard"])
        if settings["kind"] == "virtual":
            for shard, clips in shards[cohort].items():
                for clip in clips:
                    clip["path"] = f"results/cohorts/{cohort}/recordings/{shard}/{clip['path']}"
    states = {cohort: listing.digest for cohort, listing in listings.items()}
    found = shards, states, check_subjects(config, shards), recordings(config["video"], config["score"]["task"])
    if workflow.is_main_process:
        hand_on(HANDOVER, given, found)
    return found


try:
    SHARDS, STATES, NOTES, RECORDINGS = prepare()
except InputError as error:
    raise WorkflowError(str(error)) from None

# Jobs find the package in any environment that a rule may name, installed there or not, and nothing else by PYTHONPATH.
# It is set within the command, because Snakemake takes it away before it activates an environment of conda.
EXPORTS = ["PYTHONPATH={SOURCE:q}"]
if config["assets"]["weights"]:
    WEIGHTS = str(Path(config["assets"]["weights"]).resolve())
    EXPORTS += ["TORCH_HOME={WEIGHTS:q}/torch", "HF_HOME={WEIGHTS:q}/hf"]
shell.prefix(f"set -euo pipefail; export {' '.join(EXPORTS)}; ")

# A run that was killed goes on with the same call; jobs, which read this file too on a cluster, claim nothing.
CLAIM = claim(Path(".snakemake")) if workflow.is_main_process else None
START = time.time()
ASSETS = config["assets"]["folder"]
# What they hold is fixed, by a hash or by the code that made it, so it does not matter when they were put there.
FACE_LANDMARKER = ancient(f"{ASSETS}/{assets.FACE_LANDMARKER.file}")
HEADS = ancient(f"{ASSETS}/heads.npz")
COHORTS = list(config["cohorts"])
VIRTUAL_COHORTS = [name for name in COHORTS if config["cohorts"][name]["kind"] == "virtual"]
OWN_COHORTS = [name for name in COHORTS if name not in VIRTUAL_COHORTS]
FILMED_COHORTS = [name for name in VIRTUAL_COHORTS if config["cohorts"][name]["medium"] == "video"]
STUDIES = list(config["studies"])
# Studies that work on crops, and models that see everything but the face.
PICTURED = ("palsy", "parkinson")
BACKGROUND_MODELS = [model for model, (images, _) in IMAGES.items() if images == "surroundings"]
COLLECTIONS = collections(config)
# The parts of Snakemake's own report.
PARTS = {
    "als": "ALS",
    "palsy": "Facial palsy",
    "parkinson": "Parkinson",
    "synthesis": "Synthesis of palsies",
    "meta_analysis": "Meta-analysis",
    "recordings": "Recordings",
    "whole": "Whole run",
}
# Asked once: the driver takes its time to answer, and there may be hundreds of training jobs.
GPU_COUNT = len(devices.visible_devices())


wildcard_constraints:
    cohort="[a-z][a-z0-9_]*",
    shard="[A-Za-z0-9_-]+",
    study="[a-z]+",
    protocol="[a-z_]+",
    model="[a-z0-9_]+",
    fold="[0-9]+",
    name="[A-Za-z0-9_-]+",
    repeat="[0-9]+",
    collection="|".join(COLLECTIONS) or "none",


def stamp_scripts():
    """Have rules run again when their script says something else, not when it is newer: of a fresh clone all are."""
    for step in workflow.rules:
        if step.script:
            text = Path(workflow.basedir, "workflow", "scripts", Path(step.script).name).read_bytes()
        elif step.shellcmd:
            text = step.shellcmd.encode()
        else:
            continue
        step.set_params(script=hashlib.sha256(text).hexdigest()[:12])


def configured_asset(wildcards):
    """The user's own copy of an asset, or nothing, as arguments of the command that fetches it."""
    own = {assets.FACE_LANDMARKER.file: "face_landmarker", assets.HEADS.file: "heads"}
    copy = config["assets"][own[wildcards.file]] if wildcards.file in own else None
    return [copy] if copy else []


def published(name):
    """A table of numbers as they are printed in a paper; beside the workflow, wherever the results are stored."""
    # However the way to the checkout is written: another path is another input.
    return local(str(Path(workflow.basedir, "resources", "published", name).resolve()))


def shown(files, part, title, caption):
    """Tables, figures or a page as `snakemake --report` lists them: by study, title and format, with a caption.

    A part may be a function of the wildcards.
    """
    if not isinstance(files, str):
        return [shown(file, part, title, caption) for file in files]
    path = Path(files)
    kind = path.parent.name.removesuffix("s")
    labels = {kind: title, "format": path.suffix.removeprefix(".")}
    return report(
        files,
        caption=f"../report/{caption}.rst",
        category=part if callable(part) else PARTS[part],
        subcategory=path.parent.name.capitalize(),
        # A function gives all labels or none.
        labels=(
            (lambda wildcards: {"study": part(wildcards)} | labels)
            if callable(part)
            else {"study": PARTS[part]} | labels
        ),
    )


def part_of_study(wildcards):
    """Where what belongs to a study, or to the review, is listed."""
    return PARTS[wildcards.study]


def people_of_study(name):
    """What a caption must say about the people in a study, `virtual` or `permuted`; in a review there are none."""
    return lambda wildcards: wildcards.study in STUDIES and cohort_description(wildcards.study)[name]


def shards_of(wildcards):
    return list(SHARDS[wildcards.cohort])


def clips_of(wildcards):
    """The rows of the manifest of one shard."""
    return SHARDS[wildcards.cohort][wildcards.shard]


def recordings_of(wildcards):
    """The folder of recordings that this workflow makes; the state of files of yours is part of the clips' rows."""
    virtual = wildcards.cohort in VIRTUAL_COHORTS
    return f"results/cohorts/{wildcards.cohort}/recordings/{wildcards.shard}" if virtual else []


def patients_of(wildcards):
    """Who the virtual patients of one shard are: subject, group and place within the group."""
    subjects = {clip["subject"] for clip in clips_of(wildcards)}
    roll = enrol(config["cohorts"][wildcards.cohort])
    return [[patient.subject, patient.group, patient.place] for patient in roll if patient.subject in subjects]


def recording_settings(wildcards):
    """What recordings of a virtual patient depend on: not on how many other patients there are."""
    settings = config["cohorts"][wildcards.cohort]
    return {key: settings[key] for key in ("seed", "medium", "tasks", "seconds", "confound", "video")}


def tables_of_all(names, table):
    """One table of every shard of some cohorts."""
    return [f"results/cohorts/{name}/{table}/{shard}.parquet" for name in names for shard in SHARDS[name]]


def tables_of(study, table):
    """One table of every shard of the cohorts that a study works on."""
    return tables_of_all(cohorts_of(config["studies"][study]), table)


def quality_of(study):
    """Which clips of a study's cohorts can be used."""
    return [f"results/cohorts/{name}/quality.parquet" for name in cohorts_of(config["studies"][study])]


def is_virtual(study):
    """Whether nobody real is in a study, so that the truth is known."""
    return set(cohorts_of(config["studies"][study])) <= set(VIRTUAL_COHORTS)


def folds_of(study, protocol):
    """The folds of a study; subjects to leave out are counted from the clips that it would use."""
    folds = lookup(f"studies/{study}/protocols/{protocol}/folds", within=config, default=1)
    groups, clips = config["studies"][study]["groups"], study_clips(config["studies"][study], SHARDS)
    if protocol == "sources":
        sources = {clip["source"] for clip in clips if clip["group"] == groups["negative"]}
        return range(len(sources) if len(sources) > 1 else 0)
    if isinstance(folds, str):
        patients = groups["positive"]
        held_out = clips if folds == "leave_one_subject_out" else [clip for clip in clips if clip["group"] == patients]
        folds = len({clip["subject"] for clip in held_out})
    return range(folds)


def fold_count(wildcards):
    return len(folds_of(wildcards.study, wildcards.protocol))


def of_every_fold(study, table):
    """One table of every protocol, model and fold of a study."""
    settings = config["studies"][study]
    return [
        f"results/studies/{study}/{protocol}/{model}/fold{fold}/{table}.parquet"
        for protocol, block in settings["protocols"].items()
        for model in block.get("models", settings["models"])
        for fold in folds_of(study, protocol)
    ]


def predictions_of(wildcards):
    return of_every_fold(wildcards.study, "predictions")


def activations_of(wildcards):
    """What the frozen part of an image network made of the pictures; nothing for a model that sees none."""
    seen = [IMAGES[wildcards.model]] if wildcards.model in IMAGES else []
    return [f"results/studies/palsy/activations/{images}_{family}.safetensors" for images, family in seen]


def training_of(wildcards):
    """The training block of a palsy model: another kind's settings are no reason to train it again."""
    return seeded(config["studies"]["palsy"]["training"][KINDS[wildcards.model]], wildcards)


def seeded(training, wildcards):
    """A training block, with the next seed for the second training, and so on: repeats are counted from the first."""
    return training | {"seed": training["seed"] + int(wildcards.get("repeat", 1)) - 1}


def audited_model(wildcards):
    return headline_model(wildcards.study, config["studies"][wildcards.study])


def repeats_of(wildcards):
    """The numbers of the trainings beyond the first that a study's audits are given; null where nothing is random."""
    if audited_model(wildcards) in ESTIMATORS:
        return None
    return list(range(2, config["studies"][wildcards.study]["repeats"] + 1))


def repeated_predictions(wildcards):
    """The audited model's predictions in every fold, by the number of its training."""
    study, model = wildcards.study, audited_model(wildcards)
    return {
        f"repeat{repeat}": [
            f"results/studies/{study}/repeats/{repeat}/grouped/{model}/fold{fold}/predictions.parquet"
            for fold in folds_of(study, "grouped")
        ]
        for repeat in repeats_of(wildcards) or ()
    }


def backbones_of(wildcards):
    """The settings of the family of networks that a palsy model, or a cache of activations, belongs to."""
    family = IMAGES[wildcards.model][1] if wildcards.get("model") in IMAGES else wildcards.get("family")
    return {family: config["studies"]["palsy"]["backbones"][family]} if family else {}


def pretrained_families():
    """The families of networks that learn expressions before they are used."""
    families = config["studies"]["parkinson"]["backbones"]
    wanted = {PARKINSON_FAMILIES[model] for model in config["studies"]["parkinson"]["models"]}
    return sorted(name for name, block in families.items() if name in wanted and block["weights"] == "expression")


def family_of(wildcards):
    """The family of networks through which a model of the Parkinson study sees images."""
    return PARKINSON_FAMILIES[wildcards.model] if wildcards.get("model") else wildcards.get("family", "resnet")


def sized_backbones(wildcards):
    """The settings of the family of networks that a job is about; what was trained before is a file of weights."""
    family = family_of(wildcards)
    block = config["studies"]["parkinson"]["backbones"][family]
    own = pretrained_weights(wildcards)
    return {family: block | {"weights": own[0]} if own else block}


def pretrained_weights(wildcards):
    """The weights that a backbone has from its training on expressions, if it had any."""
    family = family_of(wildcards)
    return [f"results/pretraining/expression/{family}.safetensors"] if family in pretrained_families() else []


def expressions_of(wildcards):
    """What the frozen part of a model's backbone made of the expression images."""
    return f"results/studies/parkinson/activations/{family_of(wildcards)}.safetensors"


def expression_faces(wildcards):
    """What a backbone learns expressions from: the face crops of a cohort, or nothing where a folder is given."""
    cohort = config["studies"]["parkinson"]["pretraining"]["cohort"]
    if cohort is None:
        return {"folder": config["studies"]["parkinson"]["pretraining"]["folder"]}
    quality = f"results/cohorts/{cohort}/quality.parquet"
    return {"quality": quality} | {name: tables_of_all([cohort], name) for name in ("manifest", "landmarks", "crops")}


def attention_models():
    """The network that the Parkinson paper is about, of every fold over people held out."""
    return [
        f"results/studies/parkinson/grouped/attention_fusion/fold{fold}/model.safetensors"
        for fold in folds_of("parkinson", "grouped")
    ]


def truth_of(study):
    """What the faces of virtual patients did; nothing where nobody knows."""
    return tables_of(study, "truth") if is_virtual(study) else []


def own_pairs(wildcards):
    """The user's table of pairs, if there is one."""
    table = config["studies"]["synthesis"]["pairs"]["table"]
    return {"table": table} if table else {}


def extractor_of(kind):
    """A network that the synthesis goes by: the user's file, or what is trained here."""
    own = config["studies"]["synthesis"]["extractors"][kind]
    return own or f"results/studies/synthesis/extractors/{kind}.safetensors"


def extractor_files():
    return {kind: extractor_of(kind) for kind in ("identity", "expression", "landmarks")}


def identity_extractor(wildcards):
    """What tells people apart, for the network of expressions to start from and be compared with."""
    return {"identity": extractor_of("identity")} if wildcards.kind == "expression" else {}


def first_pass(wildcards):
    """On the way back, what was made on the way there."""
    return f"results/studies/synthesis/{wildcards.model}/there.parquet" if wildcards.way == "back" else []


def targets_of_pairs():
    """The true targets of the pairs, where they can be known: of photographed virtual patients of one cohort."""
    blocks = [config["cohorts"][name] for name in cohorts_of(config["studies"]["synthesis"])]
    photographed = is_virtual("synthesis") and [block["medium"] for block in blocks] == ["photographs"]
    return "results/studies/synthesis/targets.parquet" if photographed else []


def start_of_training(wildcards):
    """The trained row that a row's training starts from, if it does: DCFace, from which the paper's CCFExp starts."""
    start = config["studies"]["synthesis"]["start_from"]
    # What has a style grid is where others start from.
    later = start is not None and wildcards.model != start and not ROWS[wildcards.model].grid
    return {"start": f"results/studies/synthesis/{start}/model.safetensors"} if later else {}


def looking_networks(wildcards):
    """The networks that look at faces, real and made alike, to score them."""
    return {kind: extractor_of(kind) for kind in ("identity", "landmarks")}


def made_by(wildcards):
    """The pictures of a model, both ways; those of trivial rows are not kept."""
    folder = f"results/studies/synthesis/{wildcards.model}"
    return {} if wildcards.model in TRIVIAL else {way: f"{folder}/{way}.parquet" for way in ("there", "back")}


def of_generators(file):
    """A file of every model of the synthesis study."""
    return [f"results/studies/synthesis/{model}/{file}" for model in config["studies"]["synthesis"]["models"]]


def of_synthesis_rows(file):
    """A file of every row of the synthesis study, the trivial ones among them."""
    return [*of_generators(file), *(f"results/studies/synthesis/{row}/{file}" for row in TRIVIAL)]


def extractor_qualities():
    """How good the extractors are that are trained here."""
    own = config["studies"]["synthesis"]["extractors"]
    return [f"results/studies/synthesis/extractors/{kind}_quality.csv" for kind, path in own.items() if not path]


def generator_steps():
    """Steps of training of every generator."""
    settings = config["studies"]["synthesis"]
    return settings["training"]["steps"] or SIZES[settings["size"]].steps


def augmentation_cohorts():
    """The cohorts of the two studies, which tell whether the same virtual people are in both."""
    used = {name for study in ("palsy", "synthesis") for name in cohorts_of(config["studies"][study])}
    return {name: config["cohorts"][name] for name in sorted(used)}


def augmentation_protocol():
    """Who is held out, as in the palsy study."""
    protocol = config["studies"]["synthesis"]["augmentation"]["protocol"]
    known = config["studies"]["palsy"]["protocols"]
    if protocol not in known:
        raise WorkflowError(
            f"config key studies.synthesis.augmentation.protocol: the palsy study has no protocol {protocol!r}; there "
            f"is {', '.join(known)}"
        )
    return protocol


def augmented_backbones():
    """The network that is trained with and without synthetic pictures."""
    return {"mixer": config["studies"]["palsy"]["backbones"]["mixer"]}


def made_for_augmentation(wildcards):
    """The pictures that a generator made; warped ones are made where they are needed."""
    model = config["studies"]["synthesis"]["augmentation"]["model"]
    return f"results/studies/synthesis/augmentation/{model}.parquet" if wildcards.kind == "generated" else []


def activations_of_arm(wildcards):
    """What the network sees in the pictures that are added; nothing is added to none."""
    kind = wildcards.arm.partition("_")[0]
    return [] if kind == "none" else f"results/studies/synthesis/augmentation/{kind}.safetensors"


def predictions_of_arms():
    """Of every fold, with nothing added and with each number of generated and of warped pictures."""
    counts = sorted(config["studies"]["synthesis"]["augmentation"]["per_identity"])
    arms = ["none", *(f"{kind}_{count}" for kind in ("generated", "warp") for count in counts)]
    folds = folds_of("palsy", augmentation_protocol())
    return [f"results/studies/synthesis/augmentation/{arm}/fold{fold}.parquet" for arm in arms for fold in folds]


def no_palsy_study(wildcards):
    raise WorkflowError(
        "config key studies.palsy: there is no palsy study, whose training synthetic pictures could help; add it"
    )


def classifying_studies():
    """The studies that tell patients from others, of people held out."""
    return [study for study in STUDIES if "grouped" in config["studies"][study].get("protocols", {})]


def study_audits(study):
    """The audits of a study, if it is one that has them."""
    return [f"results/studies/{study}/audits.parquet"] if study in classifying_studies() else []


def audits_of_studies(wildcards):
    """The audits of all studies; there must be one."""
    if not classifying_studies():
        raise WorkflowError(
            "config key studies: none tells patients from others with subjects held out, so there is nothing to audit; "
            "add als, palsy or parkinson with the protocol grouped"
        )
    return [table for study in classifying_studies() for table in study_audits(study)]


def pictures_of(wildcards):
    """Where the crops are that a study works on."""
    table = "images" if wildcards.study == "parkinson" else "samples"
    return f"results/studies/{wildcards.study}/{table}.parquet"


def audited_tables(wildcards):
    """What the audits of a study look at; pictures only where it works on them."""
    study = wildcards.study
    tables = {
        "predictions": of_every_fold(study, "predictions"),
        "manifest": tables_of(study, "manifest"),
        "quality": quality_of(study),
    }
    pictures = {"hashes": f"results/studies/{study}/hashes.parquet"} if study in PICTURED else {}
    return tables | repeated_predictions(wildcards) | pictures


def background_models(wildcards):
    """The models of a study that see everything but the face."""
    return [model for model in config["studies"][wildcards.study]["models"] if model in BACKGROUND_MODELS]


def of_branches(table):
    """A file of each branch of a fusion, of the same fold and the same repeat of the training, if it is one."""

    def files(wildcards):
        folder = f"repeats/{wildcards.repeat}/{wildcards.protocol}" if wildcards.get("repeat") else wildcards.protocol
        return [
            f"results/studies/palsy/{folder}/{branch}/fold{wildcards.fold}/{table}"
            for branch in BRANCHES[wildcards.model]
        ]

    return files


def explained_folds():
    """The judged explanations of every protocol, explained model and fold; nothing where no truth is known."""
    settings = config["studies"]["palsy"]
    return [
        f"results/studies/palsy/{protocol}/{model}/fold{fold}/explanations.parquet"
        for protocol in settings["protocols"]
        for model in settings["explanations"]["models"]
        if model in settings["models"] and is_virtual("palsy")
        for fold in folds_of("palsy", protocol)
    ]


def crops_to_explain(wildcards):
    """The pictures that an image network is explained on; nothing for a model that sees none."""
    return tables_of("palsy", "crops") if wildcards.model in IMAGES else []


def folds_stamp(wildcards):
    return code_stamp("training.folds", "tables", f"studies.{wildcards.study}")


def evaluation_stamp(wildcards):
    return code_stamp("evaluation.metrics", f"studies.{wildcards.study}")


def audits_stamp(wildcards):
    return code_stamp("evaluation.audits", f"studies.{wildcards.study}")


def cohort_description(study):
    """What every table and figure of a study must say about the people in it."""
    return {
        "cohort": cohort_names(study),
        # One virtual cohort among others is enough to say so.
        "virtual": not set(cohorts_of(config["studies"][study])).isdisjoint(VIRTUAL_COHORTS),
        "permuted": config["studies"][study].get("permute_labels") is not None,
    }


def cohort_names(study):
    return " + ".join(cohorts_of(config["studies"][study]))


def study_figures(study):
    figures = {
        "als": ["published", "learning_curves", "confusion", "roc", "calibration"],
        "palsy": ["published", "confusion", "roc", "calibration"],
        "parkinson": ["published", "confusion", "roc", "calibration", "attention"],
        "synthesis": ["published", "grid", "losses"],
    }
    attended = "attention_fusion" in config["studies"][study]["models"]
    return [f"results/figures/{study}_{name}.png" for name in figures[study] if attended or name != "attention"]


def study_tables(study):
    """The tables of a study; the first is the paper's."""
    tables = [study]
    if study == "palsy":
        tables += ["palsy_measures", *(["palsy_explanations"] if explained_folds() else [])]
    if study == "synthesis":
        tables += ["synthesis_extractors"] if extractor_qualities() else []
    if study == "parkinson":
        tables += ["parkinson_attention"] if "attention_fusion" in config["studies"][study]["models"] else []
        tables += ["expression_pretraining"] if pretrained_families() else []
    return tables


def table_names():
    """The tables that the configuration asks for."""
    studies = [name for study in STUDIES for name in study_tables(study)]
    # A photograph has no rest that a movement could be measured from.
    validation = ["measurement_validation"] if FILMED_COHORTS else []
    intake = ["intake"] if OWN_COHORTS else []
    audits = ["audits"] if classifying_studies() else []
    claims = ["claims"] if claims_table() else []
    return [*claims, *studies, *audits, *validation, *intake, "quality", *meta_tables(COLLECTIONS)]


def claimed_tables(wildcards):
    """The tables of the studies, whose claims are judged; there must be one, or the review."""
    if not STUDIES and not COLLECTIONS:
        raise WorkflowError(
            "config keys studies, meta_analysis: there is no claim of a paper to judge; add a study or the review"
        )
    return [f"results/tables/{study}.csv" for study in STUDIES]


def intake_table(wildcards):
    """What was found of the data sets; there must be one."""
    if not OWN_COHORTS:
        raise WorkflowError(
            "config key cohorts: all are virtual, so there is no copy to look through; name a preset of a data set, "
            "such as --configfile config/presets/neuroface.yaml --config root=/path/to/your/copy"
        )
    return "results/tables/intake.md"


def adapter_stamp(wildcards):
    return code_stamp("cohorts.intake.examine", f"cohorts.{config['cohorts'][wildcards.cohort]['kind']}", "tables")


def state_of(wildcards):
    """Another one as soon as a file is added, removed or changed."""
    return STATES[wildcards.cohort]


def figure_files():
    """The figures that the configuration asks for."""
    studies = [figure for study in STUDIES for figure in study_figures(study)]
    return [*contact_sheets(), *studies, *meta_figures(COLLECTIONS)]


def contact_sheets():
    """Pictures of the virtual people, who may be shown."""
    return [f"results/figures/{cohort}_contact_sheet.png" for cohort in VIRTUAL_COHORTS]


def drawings():
    """The figures that are drawn, as SVG."""
    return [path.replace(".png", ".svg") for path in figure_files() if path not in contact_sheets()]


def final_files():
    """Every table and figure in each of its formats: what is not asked for is not missed when it was deleted."""
    names = [*table_names(), *(f"meta_analysis_{name}_rows" for name in COLLECTIONS)]
    tables = [f"results/tables/{name}.{suffix}" for name in names for suffix in ("md", "csv", "tex")]
    return [*tables, *figure_files(), *drawings()]


def own_tables():
    """Every table of this run as CSV."""
    return [path for path in final_files() if path.startswith("results/tables/") and path.endswith(".csv")]


def other_files(wildcards):
    """Tables and manifest of the run to compare with; there must be one."""
    try:
        other = other_run(config, Path("results"))
    except InputError as error:
        raise WorkflowError(str(error)) from None
    return {f"other_{name}": [local(path) for path in paths] for name, paths in other.items()}


def audits_table():
    """The audits of all studies, where there are any."""
    return "results/tables/audits.csv" if classifying_studies() else []


def claims_table():
    """The claims of all papers, where there are any."""
    return "results/tables/claims.csv" if STUDIES or COLLECTIONS else []


def parts_of_report():
    """The parts of the report: tables and figures of each work, and of whom they are."""
    parts = {
        study: {
            "tables": study_tables(study),
            "figures": [Path(path).stem for path in study_figures(study)],
            "cohorts": cohorts_of(config["studies"][study]),
            **cohort_description(study),
        }
        for study in STUDIES
    }
    if COLLECTIONS:
        figures = [Path(path).stem for path in meta_figures(COLLECTIONS)]
        parts["meta_analysis"] = {"tables": meta_tables(COLLECTIONS), "figures": figures}
    return parts


def effect_tables(wildcards):
    """The CSV files whose effect sizes a collection is made of; the review's comes first."""
    collection = COLLECTIONS[wildcards.collection]
    review = [published("meta_analysis_studies.csv")] if collection["published"] else []
    return [*review, *collection["tables"]]


def effect_metrics(wildcards):
    """The metrics of the studies whose results a collection takes in."""
    return [f"results/studies/{study}/metrics.parquet" for study in COLLECTIONS[wildcards.collection]["studies"]]


def effect_cohorts(wildcards):
    return {study: cohort_description(study) for study in COLLECTIONS[wildcards.collection]["studies"]}


def effects_stamp(wildcards):
    studies = COLLECTIONS[wildcards.collection]["studies"]
    return code_stamp("studies.meta_analysis", "tables", *(f"studies.{study}" for study in studies))


def collections_from_tables():
    """The collections that no result of this pipeline enters."""
    return [name for name, collection in COLLECTIONS.items() if not collection["studies"]]


def meta_tables(collections):
    """The tables of a meta-analysis: the claims of the review, and each collection (its rows are made with it)."""
    return ["meta_analysis", *(f"meta_analysis_{name}" for name in collections)] if collections else []


def meta_figures(collections):
    """The figures of a meta-analysis: what the review says beside what its rows give, and those of each collection."""
    figures = ("forest", "funnel", "galbraith", "leave_one_out", "baujat")
    review = ["results/figures/meta_analysis_published.png"] if collections else []
    return review + [f"results/figures/meta_analysis_{name}_{figure}.png" for name in collections for figure in figures]


def recording_of(wildcards):
    """The manifest of one recording that is to be scored; there must be one of this name."""
    try:
        return [recording(RECORDINGS, wildcards.name, config["video"])]
    except InputError as error:
        raise WorkflowError(str(error)) from None


def no_recording(wildcards):
    """Nothing: recordings of yours are no input, because their state is part of their row."""
    recording_of(wildcards)
    return []


def all_recordings(file):
    """A file of every recording that is to be scored; there must be one."""

    def found(wildcards):
        if config["video"] is None:
            raise WorkflowError(UNNAMED)
        return [f"results/score/{name}/{file}" for name in RECORDINGS["clips"]]

    return found


def scored_study(wildcards):
    """The study whose models score recordings, and what must be said of the people whom they were trained on."""
    study = config["score"]["study"]
    if study not in classifying_studies():
        raise WorkflowError(
            f"config key score.study: this configuration has no study {study!r} with the protocol grouped, so there is "
            f"no model to score a recording with; add it, or choose another"
        )
    model = SCORING_MODELS[study]
    if model not in config["studies"][study]["models"]:
        raise WorkflowError(
            f"config key studies.{study}.models: {model}, which scores recordings, is not among them; add it"
        )
    cohorts = cohorts_of(config["studies"][study])
    return {"name": study, "model": model, "cohorts": cohorts} | cohort_description(study)


def of_grouped_folds(study, model, file):
    """A file of a model of every fold over people held out."""
    return [f"results/studies/{study}/grouped/{model}/fold{fold}/{file}" for fold in folds_of(study, "grouped")]


def reductions_of_grouped_folds(part):
    """What reduces the inputs of the ALS models of every fold over people held out."""
    folds = folds_of("als", "grouped")
    return [f"results/studies/als/grouped/reduction/fold{fold}{part}.safetensors" for fold in folds]


def scoring_branches(place):
    """One of the two branches that the palsy model which scores recordings joins, of every fold."""
    return of_grouped_folds("palsy", BRANCHES[SCORING_MODELS["palsy"]][place], "model.safetensors")


def score_tables(wildcards):
    """All that a page about a recording says."""
    study, folder = scored_study(wildcards), f"results/score/{wildcards.name}"
    return {
        **{name: f"{folder}/{name}.parquet" for name in ("quality", "circumstances", "excursions")},
        "votes": f"{folder}/{study['name']}_votes.parquet",
        "audits": f"results/studies/{study['name']}/audits.parquet",
        "cohort": f"results/studies/{study['name']}/circumstances.parquet",
        "predictions": of_grouped_folds(study["name"], study["model"], "predictions.parquet"),
        "validation": ["results/tables/measurement_validation.csv"] if FILMED_COHORTS else [],
    }


def frames_table(path):
    """Frames are only kept when the user asks for it: they show faces."""
    return path if config["features"]["frames"]["keep"] else temp(path)


def gpus(wildcards):
    """One GPU for a training job where this machine has any; a cluster's profile says so for its nodes."""
    return min(1, GPU_COUNT)


def gpu_limit():
    """How many GPUs the caller allows at once, on the command line or in a profile; None: as many as there are."""
    limit = workflow.global_resources.get("gpu")
    return None if limit is None else limit.value


def publishable_text(wildcards):
    """The configuration to repeat the run with, as a file."""
    missing = "".join(f"# Withheld, to be given again: {key}, {reason}.\n" for key, reason in WITHHELD.items())
    body = yaml.safe_dump(PUBLISHABLE, sort_keys=False, allow_unicode=True, width=120)
    return f"# The configuration of this run, complete; docs/provenance.md says how to repeat it.\n{missing}{body}"


def cohort_states():
    """What every cohort is, in numbers and a hash of its state; nobody's name."""
    clips = {name: [clip for shard in SHARDS[name].values() for clip in shard] for name in COHORTS}
    return {
        name: {
            "kind": config["cohorts"][name]["kind"],
            "digest": STATES[name],
            "subjects": len({clip["subject"] for clip in clips[name]}),
            "clips": len(clips[name]),
            "unusable": sum(clip["problem"] is not None for clip in clips[name]),
        }
        for name in COHORTS
    }


def assets_used():
    """The fetched files that the cohorts need: each has its landmarks measured, and some are rendered."""
    heads = [f"{ASSETS}/{assets.HEADS.file}"] if VIRTUAL_COHORTS else []
    return [str(FACE_LANDMARKER), *heads]


def list_jobs():
    """Keep for the manifest which jobs it is about: all that it depends on, also those that were done before."""
    found = {job for job in workflow.dag.jobs if job.rule.name == "record_run"}
    if not found:
        return
    waiting = list(found)
    while waiting:
        new = set(workflow.dag.dependencies[waiting.pop()]) - found
        found |= new
        waiting += new
    jobs = [
        {
            "rule": job.rule.name,
            "log": next(iter(job.log), None),
            "benchmark": job.benchmark,
            "outputs": list(job.output),
        }
        for job in found
        if job.rule.name != "record_run"
    ]
    call = {
        "config": publishable_text(None),
        "started": START,
        "snakemake": snakemake_version,
        "executor": workflow.executor_plugin.name,
        "cores": workflow.resource_settings.cores,
        "gpus": gpu_limit(),
        "deployment": sorted(str(method) for method in workflow.deployment_settings.deployment_method),
        "jobs": sorted(jobs, key=lambda job: (job["rule"], job["outputs"])),
    }
    CALL.write_text(json.dumps(call), encoding="utf-8")


def tell_summary():
    """Show the summary, if this call made one."""
    summary = Path("results/summary.md")
    if summary.exists() and summary.stat().st_mtime >= START:
        print(summary.read_text())
        print("The report of this run, for a browser: results/report/index.html")


def tell_comparison():
    """Show what differs from the other run, if this call compared the two."""
    compared = Path("results/comparison/comparison.md")
    if compared.exists() and compared.stat().st_mtime >= START:
        print(*heading_and_lead(compared.read_text())[1], sep="\n\n")
        print("\nAll of it, for a browser: results/comparison/index.html")


def frame_selection(wildcards):
    return {key: config["features"]["frames"][key] for key in ("every", "at_most")}


def announce_device():
    """Say where training jobs will compute. Snakemake lowers what a job asks for to the limit, without a word."""
    limit = gpu_limit()
    if limit == 0:
        print("The limit is gpu=0: training jobs use the CPU.")
    elif workflow.non_local_exec:
        print("Training jobs compute where the profile sends them; each says in its log whether it was given a GPU.")
    elif not GPU_COUNT:
        print("No GPU found here: training jobs use the CPU.")
    elif limit is not None and limit > GPU_COUNT:
        print(f"The limit is gpu={limit}, but there are {GPU_COUNT}: training jobs will wait for one another.")
    else:
        print(f"{GPU_COUNT} GPU(s) found; training jobs use {limit or GPU_COUNT} at a time.")


def tell_notes():
    """What a study has to do without."""
    for note in NOTES:
        print(note)
