"""What langchain's parser of OpenAI's Whisper makes of an audio file: one JSON object. Argument: the file."""

import contextlib
import json
import sys

from langchain_community.document_loaders.blob_loaders import Blob
from langchain_community.document_loaders.parsers.audio import OpenAIWhisperParser

with contextlib.redirect_stdout(sys.stderr):  # it tells its progress there
    documents = OpenAIWhisperParser().parse(Blob.from_path(sys.argv[1]))
print(json.dumps([{"text": document.page_content, "metadata": document.metadata} for document in documents]))
