"""A LangChain chat model for Qwen's code-interpreter-enabled endpoints."""
