"""Content: text to speech and images, images to text, by an endpoint or by programs on this machine."""

from handlers.content.providers import make_provider

__all__ = ["make_provider"]
