"""Everything that a run left -> its manifest, its configuration, and both for those who read RO-Crates."""

import json
from pathlib import Path

from faceneuro.files import replacing
from faceneuro.report.crate import crate
from faceneuro.report.provenance import identity, manifest, read_call
from faceneuro.workflow import job

with job(snakemake):
    params, output = snakemake.params, snakemake.output
    made = manifest(
        read_call(Path(params.call), params.config_text),
        root=Path(snakemake.scriptdir).resolve().parents[1],
        config=params.config,
        withheld=params.withheld,
        cohorts=params.cohorts,
        files=params.files,
        assets=map(Path, params.assets),
    )
    texts = {output.config: params.config_text, output.manifest: json.dumps(made, indent=2, ensure_ascii=False) + "\n"}
    for path, text in texts.items():
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")
    with replacing(output.crate) as part:
        described = crate(made, {path: identity(Path(path)) for path in texts})
        part.write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
