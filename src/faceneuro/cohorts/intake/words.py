"""What expressions and groups are called in the paths of data sets, and here."""

EMOTIONS = {
    word: name
    for name, words in {
        "neutral": "neutral ne neu",
        "anger": "anger angry an ang",
        "disgust": "disgust disgusted di dis",
        "fear": "fear fearful afraid scared fe fea",
        "happiness": "happiness happy joy ha hap",
        "sadness": "sadness sad sa",
        "surprise": "surprise surprised su sur",
        "contempt": "contempt contemptuous co con",
    }.items()
    for word in words.split()
}
"""The emotions, by what data sets call them."""

PALSY = {
    word: name
    for name, words in {
        "palsy": "palsy affected patient patients flaccid synkinetic",
        "healthy": "healthy normal unaffected control controls",
    }.items()
    for word in words.split()
}
"""People with and without a facial palsy, by what data sets call them."""
