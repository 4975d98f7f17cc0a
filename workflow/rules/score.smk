use rule list_clips as list_recording with:
    input:
        recordings=no_recording,
    output:
        manifest="results/score/{name}/manifest.parquet",
    log:
        "logs/list_recording/{name}.log",
    benchmark:
        "benchmarks/list_recording/{name}.tsv"
    params:
        clips=recording_of,


use rule decode_frames as decode_recording with:
    input:
        manifest="results/score/{name}/manifest.parquet",
        recordings=no_recording,
    output:
        frames=frames_table("results/score/{name}/frames.parquet"),
        decoding="results/score/{name}/decoding.parquet",
    log:
        "logs/decode_recording/{name}.log",
    benchmark:
        "benchmarks/decode_recording/{name}.tsv"


use rule detect_landmarks as detect_in_recording with:
    input:
        frames="results/score/{name}/frames.parquet",
        model=FACE_LANDMARKER,
    output:
        landmarks="results/score/{name}/landmarks.parquet",
    log:
        "logs/detect_in_recording/{name}.log",
    benchmark:
        "benchmarks/detect_in_recording/{name}.tsv"


use rule compute_flow as compute_recorded_flow with:
    input:
        frames="results/score/{name}/frames.parquet",
    output:
        flow="results/score/{name}/flow.parquet",
    log:
        "logs/compute_recorded_flow/{name}.log",
    benchmark:
        "benchmarks/compute_recorded_flow/{name}.tsv"


use rule crop_faces as crop_recorded_faces with:
    input:
        frames="results/score/{name}/frames.parquet",
        landmarks="results/score/{name}/landmarks.parquet",
    output:
        crops=frames_table("results/score/{name}/crops.parquet"),
    log:
        "logs/crop_recorded_faces/{name}.log",
    benchmark:
        "benchmarks/crop_recorded_faces/{name}.tsv"


use rule assess_quality as assess_recording with:
    input:
        manifest="results/score/{name}/manifest.parquet",
        decoding="results/score/{name}/decoding.parquet",
        landmarks="results/score/{name}/landmarks.parquet",
    output:
        quality="results/score/{name}/quality.parquet",
    log:
        "logs/assess_recording/{name}.log",
    benchmark:
        "benchmarks/assess_recording/{name}.tsv"
    params:
        # Nobody knows yet what the person has.
        limits={"label_needed": False, "frames_needed": config["score"]["frames"]},


rule describe_clips:
    """How the clips of a study were recorded: what its models have met."""
    input:
        manifest=lambda wildcards: tables_of(wildcards.study, "manifest"),
        quality=lambda wildcards: quality_of(wildcards.study),
        decoding=lambda wildcards: tables_of(wildcards.study, "decoding"),
        landmarks=lambda wildcards: tables_of(wildcards.study, "landmarks"),
    output:
        circumstances="results/studies/{study}/circumstances.parquet",
    log:
        "logs/describe_clips/{study}.log",
    benchmark:
        "benchmarks/describe_clips/{study}.tsv"
    conda:
        "../../envs/statistics.yaml"
    params:
        groups=lookup("studies/{study}/groups", within=config),
        tasks=lookup("studies/{study}/tasks", within=config),
        code=code_stamp("features.circumstances", "studies.clips", "tables"),
    script:
        "../scripts/describe_clips.py"


rule measure_recording:
    """How a recording was made and, if it is good enough, how far each side of the face moves."""
    input:
        manifest="results/score/{name}/manifest.parquet",
        decoding="results/score/{name}/decoding.parquet",
        landmarks="results/score/{name}/landmarks.parquet",
        quality="results/score/{name}/quality.parquet",
    output:
        circumstances="results/score/{name}/circumstances.parquet",
        excursions="results/score/{name}/excursions.parquet",
    log:
        "logs/measure_recording/{name}.log",
    benchmark:
        "benchmarks/measure_recording/{name}.tsv"
    conda:
        "../../envs/statistics.yaml"
    params:
        least=lookup("score/least_quality", within=config),
        code=code_stamp("features.circumstances", "evaluation.measurement", "features.quality", "tables"),
    script:
        "../scripts/measure_recording.py"


rule report_recording:
    """A page about one recording: can it be relied upon, how does the face move, what do the models say, what is that worth."""
    input:
        unpack(score_tables),
    output:
        page="results/score/{name}/report.html",
        row="results/score/{name}/score.parquet",
    log:
        "logs/report_recording/{name}.log",
    benchmark:
        "benchmarks/report_recording/{name}.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        study=scored_study,
        least=lookup("score/least_quality", within=config),
        code=code_stamp("report.score", "evaluation.audits", "studies.als", "studies.palsy"),
    script:
        "../scripts/report_recording.py"


rule tabulate_scores:
    """All recordings that were scored or refused, a row each."""
    input:
        rows=all_recordings("score.parquet"),
    output:
        multiext("results/score/table", csv=".csv", md=".md", tex=".tex"),
    log:
        "logs/tabulate_scores.log",
    benchmark:
        "benchmarks/tabulate_scores.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        left_out=RECORDINGS["left_out"],
        study=scored_study,
        code=code_stamp("report.score"),
    script:
        "../scripts/tabulate_scores.py"


rule score:
    """A page for each recording that `video` names, and one table of all."""
    input:
        "results/score/table.md",
        all_recordings("report.html"),
