"""Procedural RGB-D scenes: images with exact depth, each from one seed, for training and for tests."""

from cortexia_video.scenes.layouts import LAYOUTS
from cortexia_video.scenes.rendering import RGBDScene, render_scene, render_scenes

__all__ = ["LAYOUTS", "RGBDScene", "render_scene", "render_scenes"]
