"""What the report says of each work before any number: what it claims, who is held out, what is fitted on whom.

These texts stand apart from :mod:`faceneuro.studies`, so that a better word trains no network again.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """A work, in words.

    Attributes
    ----------
    name, short
        What its part of the report is called, and in a list of parts.
    citation
        Authors and year, for tables.
    paper
        Authors, title, where and when.
    link
        Where to read it; empty where no address is certain.
    says
        What it claims.
    question
        What a clinician would ask of it.
    protocols
        Who is held out in the paper, and who here.
    fitted
        What is fitted to data, on whom, and what that means for the people tested on.
    not_for
        What the numbers must not be used for.
    """

    name: str
    short: str
    citation: str
    paper: str
    link: str
    says: str
    question: str
    protocols: str
    fitted: Sequence[tuple[str, str]]
    not_for: str


NO_DIAGNOSIS = (
    "No number here may guide the care of a person. They tell whether a published claim can be repeated; none was "
    "obtained from a consecutive series of people who sought help, which a diagnostic test would need."
)

ABOUT = {
    "als": About(
        name="ALS from orofacial gestures",
        short="ALS",
        citation="Sri Varshan et al.",
        paper=(
            "Sri Varshan P, Harigaran R, Vamsi Krishna V: Amyotrophic lateral sclerosis Disease Detection Through "
            "Facial Expression Analysis"
        ),
        link="",
        says=(
            "A network with two branches, one for facial landmarks and one for principal components of the optical "
            "flow, tells people with ALS from healthy people with an accuracy of 92 % on Toronto NeuroFace."
        ),
        question="Would it recognise ALS in somebody whom it has never seen?",
        protocols=(
            "The supports of the paper's Table I, 169 and 169, are those of a random split of frames. So the people "
            "tested on are the people trained on, and recognising a person is enough. That protocol is repeated here "
            "as “published”. Beside it, “grouped” holds whole people out; its numbers are the ones to quote."
        ),
        fitted=(
            ("Principal components of the flow, scale of the landmarks", "the training part of each fold"),
            ("Weights of the networks", "the training part of each fold, less the people set aside in it"),
            ("Number of epochs", "the people set aside in the training part (frames, in the published protocol)"),
            ("Threshold of a decision", "nobody: it is one half"),
        ),
        not_for=(
            "A face that moves slowly or little has many causes. The study compares ALS with health only, in a few "
            "people who were known to have it."
        ),
    ),
    "palsy": About(
        name="Facial palsy from images and landmarks",
        short="Facial palsy",
        citation="Oo et al. 2025",
        paper=(
            "Oo, Lee, Lim: A Multimodal Fusion Model Leveraging MLP Mixer and Handcrafted Features-based Deep Learning "
            "Networks for Facial Palsy Detection, 2025"
        ),
        link="https://arxiv.org/abs/2503.10371",
        says=(
            "Joining 29 handcrafted measures of asymmetry with an MLP-Mixer that sees the image (early fusion) detects "
            "facial palsy with an F1 of 96 %, better than either alone."
        ),
        question="Is the picture needed once the asymmetry is measured, and is it the palsy that is seen?",
        protocols=(
            "The paper holds out one patient at a time; its patients (YFP) and its healthy people (CK+) come from two "
            "data sets, so that camera and studio tell them apart too. The same protocol is used here, with healthy "
            "people held out along with each patient; a network that sees everything but the face is the control."
        ),
        fitted=(
            ("The 29 measures", "nobody: they are geometry"),
            ("Weights of each branch", "the training part of each fold, less the people set aside in it"),
            ("Weights of each fusion", "the same fold's training part, on that fold's own branches"),
            ("Number of epochs", "the people set aside in the training part"),
            ("Threshold of a decision", "nobody: it is one half"),
        ),
        not_for=(
            "Neither the grade of a palsy nor its cause can be read from these numbers, and a stroke must never be "
            "ruled out by them."
        ),
    ),
    "parkinson": About(
        name="Severity of Parkinson's disease from six expressions",
        short="Parkinson's disease",
        citation="Zhou et al. 2025",
        paper=(
            "Zhou, Huang, Li, Huang, Pang: Facial Expression-based Parkinson's Disease Severity Diagnosis via Feature "
            "Fusion and Adaptive Class Balancing, 2025"
        ),
        link="https://arxiv.org/abs/2510.17373",
        says=(
            "Attention over six posed expressions, with a loss that follows the class sizes, tells no disease, early "
            "and mid or late disease apart (accuracy 84 %, G-Mean 0.57), better than three usual image networks."
        ),
        question="Is it the disease that is graded, or age, camera and data set?",
        protocols=(
            "The paper uses five folds; its patients come from one hospital and its healthy people from three public "
            "data sets. Here folds hold whole people out, with each class and each data set of origin in every fold. "
            "In addition each data set of healthy people is held out once."
        ),
        fitted=(
            ("The backbone, where it learns expressions first", "other people, none of whom is in the study"),
            ("Weights of the classes in the loss", "the training part of each fold"),
            ("Weights of the networks", "the training part of each fold, less the people set aside in it"),
            ("Number of epochs", "the people set aside in the training part"),
        ),
        not_for=(
            "A masked face is not specific to Parkinson's disease: depression and medication mask faces too. No stage "
            "of treatment may follow from it."
        ),
    ),
    "synthesis": About(
        name="Synthetic palsy",
        short="Synthesis",
        citation="Gao and Xia 2024",
        paper=(
            "Gao, Xia: CCFExp: Facial Image Synthesis with Cycle Cross-Fusion Diffusion Model for Facial Paralysis "
            "Individuals, 2024"
        ),
        link="https://arxiv.org/abs/2409.07271",
        says=(
            "A diffusion network gives the face of one person the palsy of another; its images are more like real "
            "ones than those of DCFace, from which it starts (aFID 43.76 against 56.20), and nearer to the person's "
            "own face."
        ),
        question="Does the picture show the other's palsy on this person's face, better than what needs no network?",
        protocols=(
            "Networks learn from some people and are tested on pairs of others. Two rows need no network at all: "
            "copying one of the two pictures, and warping the weak side. What these win cannot show that palsy was "
            "transferred. For virtual people the true target exists, because the same person can be given the other's "
            "palsy."
        ),
        fitted=(
            ("Networks for identity, expression and landmarks", "the people learnt from, or files that you give"),
            ("The diffusion networks", "the people learnt from"),
            ("Number of steps", "nobody: it is configured"),
        ),
        not_for=(
            "A synthetic face is no patient. It must not be counted as one, and not be passed on as a picture of the "
            "person whose identity it has."
        ),
    ),
    "meta_analysis": About(
        name="Meta-analysis of 25 effect sizes",
        short="Meta-analysis",
        citation="Yoonesi et al. 2025",
        paper=(
            "Yoonesi, Abedi Azar, Arab Bafrani et al.: Facial expression deep learning algorithms in the detection of "
            "neurological disorders: a systematic review and meta-analysis, 2025"
        ),
        link="",
        says="Deep learning on faces detects neurological disorders with a pooled accuracy of 89.25 %.",
        question="Does the review follow from its own numbers?",
        protocols=(
            "Nobody is held out: the effect sizes that the review prints are pooled again, by the method that it "
            "names, and each of its sentences is held against them."
        ),
        fitted=(("Variance between the studies, and what is pooled", "the 25 rows that are printed"),),
        not_for=(
            "A pooled accuracy over diseases, tasks and data sets is no property of any test. The rows mix accuracies "
            "with other quantities, and some were imputed by the review."
        ),
    ),
}
"""By the name of the study, in the order of tables; ``meta_analysis`` is no study of the configuration."""
