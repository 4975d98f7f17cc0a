rule decode_frames:
    """The selected frames of every clip, lossless, and what decoding met."""
    input:
        manifest="results/cohorts/{cohort}/manifest/{shard}.parquet",
        recordings=recordings_of,
    output:
        frames=frames_table("results/cohorts/{cohort}/frames/{shard}.parquet"),
        decoding="results/cohorts/{cohort}/decoding/{shard}.parquet",
    log:
        "logs/decode_frames/{cohort}/{shard}.log",
    benchmark:
        "benchmarks/decode_frames/{cohort}/{shard}.tsv"
    conda:
        "../../envs/vision.yaml"
    params:
        selection=frame_selection,
        code=code_stamp("video.decoding", "tables"),
    script:
        "../scripts/decode_frames.py"


rule detect_landmarks:
    """478 face landmarks and 52 blendshapes in every frame."""
    input:
        frames="results/cohorts/{cohort}/frames/{shard}.parquet",
        model=FACE_LANDMARKER,
    output:
        landmarks="results/cohorts/{cohort}/landmarks/{shard}.parquet",
    log:
        "logs/detect_landmarks/{cohort}/{shard}.log",
    benchmark:
        "benchmarks/detect_landmarks/{cohort}/{shard}.tsv"
    # Later steps first: the frames of one shard are deleted before those of the next are made.
    priority: 1
    conda:
        "../../envs/vision.yaml"
    params:
        options=lookup("features/landmarks", within=config),
        code=code_stamp("features.landmarks", "tables"),
    script:
        "../scripts/detect_landmarks.py"


rule crop_faces:
    """The face in some frames of every clip, by its landmarks, and what surrounds it."""
    input:
        frames="results/cohorts/{cohort}/frames/{shard}.parquet",
        landmarks="results/cohorts/{cohort}/landmarks/{shard}.parquet",
    output:
        crops=frames_table("results/cohorts/{cohort}/crops/{shard}.parquet"),
    log:
        "logs/crop_faces/{cohort}/{shard}.log",
    benchmark:
        "benchmarks/crop_faces/{cohort}/{shard}.tsv"
    priority: 2
    conda:
        "../../envs/vision.yaml"
    params:
        at_most=lookup("features/crops/at_most", within=config),
        code=code_stamp("features.crops", "tables"),
    script:
        "../scripts/crop_faces.py"


rule align_faces:
    """Faces brought to one place and size by their eyes, nose and mouth, and 68 points of each."""
    input:
        frames="results/cohorts/{cohort}/frames/{shard}.parquet",
        landmarks="results/cohorts/{cohort}/landmarks/{shard}.parquet",
    output:
        aligned=frames_table("results/cohorts/{cohort}/aligned/{shard}.parquet"),
    log:
        "logs/align_faces/{cohort}/{shard}.log",
    benchmark:
        "benchmarks/align_faces/{cohort}/{shard}.tsv"
    priority: 2
    conda:
        "../../envs/vision.yaml"
    params:
        at_most=lookup("features/crops/at_most", within=config),
        code=code_stamp("features.alignment", "tables"),
    script:
        "../scripts/align_faces.py"


rule compute_flow:
    """Farneback flow magnitude between successive frames."""
    input:
        frames="results/cohorts/{cohort}/frames/{shard}.parquet",
    output:
        flow="results/cohorts/{cohort}/flow/{shard}.parquet",
    log:
        "logs/compute_flow/{cohort}/{shard}.log",
    benchmark:
        "benchmarks/compute_flow/{cohort}/{shard}.tsv"
    priority: 1
    conda:
        "../../envs/vision.yaml"
    params:
        grid=lookup("features/flow/grid", within=config),
        farneback=lookup("features/flow/farneback", within=config),
        code=code_stamp("features.flow", "tables"),
    script:
        "../scripts/compute_flow.py"
