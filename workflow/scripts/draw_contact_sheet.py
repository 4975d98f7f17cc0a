"""Recordings of a virtual cohort -> a sheet of stills."""

import cv2

from faceneuro.cohorts.virtual.contact_sheet import contact_sheet, stills_of
from faceneuro.files import replacing
from faceneuro.tables import read_table
from faceneuro.workflow import job

with job(snakemake), replacing(snakemake.output.sheet) as part:
    sheet = contact_sheet(*stills_of(read_table(snakemake.input.manifest), snakemake.params.cohort))
    cv2.imwrite(str(part), sheet[..., ::-1])
