"""What a Whisper model sees of a sound: a log-mel spectrogram, computed some seconds at a time.

faster-whisper's own computes the whole file at once, which takes 1.4 GB for half an hour; the numbers are the same.
Source: openai/whisper, whisper/audio.py, log_mel_spectrogram.
"""

from __future__ import annotations

import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor

_BLOCK = 3000  # frames: 30 s


class Features(FeatureExtractor):  # type: ignore[misc]  # it has no types
    """The filters of a model's `preprocessor_config.json`."""

    def __call__(self, waveform: np.ndarray, padding: int = 160, **_: object) -> np.ndarray:
        """Float32, shape (bands, frames), a frame for each 10 ms."""
        half = self.n_fft // 2
        padded = np.pad(np.pad(waveform, (0, padding)), half, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.n_fft)[:: self.hop_length][:-1]
        window = np.hanning(self.n_fft + 1)[:-1].astype(np.float32)
        bands = np.empty((len(self.mel_filters), len(frames)), np.float32)
        for at in range(0, len(frames), _BLOCK):
            spectrum = np.fft.rfft(frames[at : at + _BLOCK] * window).astype(np.complex64)
            bands[:, at : at + _BLOCK] = self.mel_filters @ (np.abs(spectrum) ** 2).T
        np.log10(np.maximum(bands, 1e-10, out=bands), out=bands)
        np.maximum(bands, bands.max() - 8.0, out=bands)
        bands += 4.0
        bands /= 4.0
        return bands
