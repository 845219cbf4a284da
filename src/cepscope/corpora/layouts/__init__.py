"""How a corpus lies in its folder: each layout recognises its own and lists the clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cepscope.corpora.layouts import audiomnist, folders, fsdd, labelled, librispeech, speech_commands, table
from cepscope.corpora.layouts.rows import Folder, Listing
from cepscope.errors import ParameterError


@dataclass(frozen=True)
class Layout:
    """A way in which corpora lie on disk.

    Attributes
    ----------
    recognises
        Tells whether a folder lies so.
    read
        Lists its clips; the second argument names what is the label.
    """

    recognises: Callable[[Folder], bool]
    read: Callable[[Folder, str], Listing]


LAYOUTS = {  # the first that recognises a folder reads it
    "audiofolder": Layout(table.is_audiofolder, table.read_audiofolder),
    "fsdd": Layout(fsdd.recognises, fsdd.read),
    "speech-commands": Layout(speech_commands.recognises, speech_commands.read),
    "audiomnist": Layout(audiomnist.recognises, audiomnist.read),
    "librispeech": Layout(librispeech.recognises, librispeech.read),
    "table": Layout(table.is_table, table.read_table),
    "timit": Layout(labelled.is_timit, labelled.read_timit),
    "textgrid": Layout(labelled.is_textgrid, labelled.read_with_textgrids),
    "csv": Layout(labelled.is_csv, labelled.read_with_csv),
    "audacity": Layout(labelled.is_audacity_track, labelled.read_with_audacity),
    "folders": Layout(folders.recognises, folders.read),
}


def list_clips(folder: Folder, *, layout: str | None = None, label: str = "label") -> Listing:
    """List the clips of a folder.

    Parameters
    ----------
    folder
        The corpus.
    layout
        A name of `LAYOUTS`; None takes the first that recognises the folder.
    label
        What is the class: "label" is what the layout is about.

    Raises
    ------
    ParameterError
        There is no such layout, or it knows no such label.
    DataError
        The folder does not lie so.
    """
    if layout is not None and layout not in LAYOUTS:
        raise ParameterError(f"layout must be one of {', '.join(LAYOUTS)}. Received: {layout!r}")
    chosen = LAYOUTS[layout] if layout else next(each for each in LAYOUTS.values() if each.recognises(folder))
    return chosen.read(folder, label)
