"""Examples at the end of each command's help; the tests parse every one."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "run": (
        "cepscope run",
        "cepscope run recordings --out runs/mine --set train.epochs=60",
        "cepscope run speech-commands --set split=speakers --seed 1",
    ),
    "extract": ("cepscope extract recordings --out runs/mine", "cepscope extract hello.wav --out hello.npz"),
    "train": ("cepscope train runs/mine --set train.epochs=60 --tensorboard events",),
    "maximize": (
        "cepscope maximize runs/mine --set maximize.radius=1.0",
        "cepscope maximize --model net.keras --data recordings --layers conv1,logits --out runs/net",
    ),
    "invert": (
        "cepscope invert hello.wav --compare",
        "cepscope invert patterns.npy --sr 16000 --method fast",
        "cepscope invert runs/mine",
    ),
    "probe": ("cepscope probe runs/mine", "cepscope probe runs/mine --json"),
    "report": (
        "cepscope report runs/mine",
        "cepscope report runs/mine --kind training",
        "cepscope report recordings --clips 3 --set features.sr=16000",
        "cepscope report hello.wav --figures paper --format png",
        "cepscope report runs/mine --figures paper --format svg --unit crbm2:7",
        "cepscope report runs/mine --tensorboard events",
    ),
    "fetch": ("cepscope fetch fsdd",),
    "describe": ("cepscope describe recordings", "cepscope describe recordings --json"),
    "explain": ("cepscope explain hello.wav --run runs/mine",),
    "compare": (
        "cepscope compare runs/mine runs/other-seed",
        "cepscope compare runs/mine --layers crbm1,crbm2",
        "cepscope compare runs/mine --unit crbm2:7",
    ),
}


def epilog(command: str) -> str:
    """Return what stands below a command's help; the mark in front keeps its lines as they are."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in EXAMPLES[command])])
