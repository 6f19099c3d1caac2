"""Training and evaluating the models of `rcdnet`; needs neither streamlit, plotly nor grad-cam."""
